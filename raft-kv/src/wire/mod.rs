//! Every byte format of the crate: commands in the log, records in the store, outcomes in sessions.
//!
//! Protocol Buffers, because fields can be added. What a reader does with a field it does not know
//! differs, though: in a record or an outcome it may be ignored; in a command it must not be, since
//! replicas that ignore it would diverge from those that don't. So a change to the meaning of
//! commands raises [`COMMAND_VERSION`], and a replica stops at a command with a higher version than
//! its own. A command is written with the earliest version that says all of it, so that replicas of
//! two releases work together until somebody uses what only one of them knows. A change to the
//! layout or the records that an older program must not ignore raises [`FORMAT_VERSION`].

mod command;
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

/// A key-value record; the numbers of the fields are those of etcd's `mvccpb.KeyValue`. In
/// history, `version` 0 says that the key was removed.
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
