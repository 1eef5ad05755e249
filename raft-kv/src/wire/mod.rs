//! The byte formats: commands in the log, records in the store, outcomes in sessions.
//!
//! All formats are Protocol Buffers, so fields can be added. A reader may ignore unknown fields of
//! a record or an outcome. It must not ignore unknown fields of a command, because it would diverge
//! from other replicas. A change of the meaning of commands therefore increments
//! [`COMMAND_VERSION`], and a replica stops at a command with a later version. A command is written
//! with the earliest version that can express it. Replicas of two releases therefore work together
//! until a client uses a new feature. A change of the layout, or of a record that older versions
//! must not ignore, increments [`FORMAT_VERSION`].

mod command;
mod messages;
mod outcome;
mod record;

pub use command::DecodeError;
pub use outcome::OutcomeDecodeError;

pub(crate) use command::{ANSWER_BOUND_SINCE, COMMAND_VERSION, KEYS_BOUND_SINCE};
pub(crate) use outcome::OutcomeMessage;
pub(crate) use record::{
    FORMAT_VERSION, FormatRecord, KEYS_COUNTED_SINCE, LeaseRecord, SessionRecord, SessionUse,
    StateRecord, VersionRecord,
};

use bytes::Bytes;

use crate::range;

/// A key-value record. The numbers of the fields are those of etcd's `mvccpb.KeyValue`. In the
/// history, `version` 0 means that the key was deleted.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct KeyValue {
    #[prost(bytes = "bytes", tag = "1")]
    pub(crate) key: Bytes,
    #[prost(int64, tag = "2")]
    pub(crate) create_revision: i64,
    #[prost(int64, tag = "3")]
    pub(crate) mod_revision: i64,
    #[prost(int64, tag = "4")]
    pub(crate) version: i64,
    #[prost(bytes = "bytes", tag = "5")]
    pub(crate) value: Bytes,
    #[prost(int64, tag = "6")]
    pub(crate) lease: i64,
}

impl From<KeyValue> for range::KeyValue {
    fn from(wire: KeyValue) -> Self {
        Self {
            key: wire.key,
            value: wire.value,
            create_revision: wire.create_revision,
            mod_revision: wire.mod_revision,
            version: wire.version,
            lease: wire.lease,
        }
    }
}

impl From<range::KeyValue> for KeyValue {
    fn from(kv: range::KeyValue) -> Self {
        Self {
            key: kv.key,
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
            value: kv.value,
            lease: kv.lease,
        }
    }
}
