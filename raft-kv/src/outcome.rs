//! The outcomes of entries.

use alloc::vec::Vec;

use crate::apply::lease::Lease;
use crate::range::{KeyValue, RangeResponse};
use crate::validate::Malformed;

/// The outcome of an entry. It is the same on every replica.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The entry contains no command.
    Noop,
    /// The command was executed, by this entry or by an earlier entry with the same session and
    /// sequence number. The response is that of the execution.
    Done(Response),
    /// An earlier entry executed the command, and its response was too large to be stored.
    AlreadyDone {
        /// The revision of the state machine after the execution.
        revision: i64,
    },
    /// A later command of the same session was executed. This entry did nothing, and it is unknown
    /// whether an earlier entry executed the command.
    SessionStale {
        /// The latest sequence number of the session.
        latest: u64,
    },
    /// The session may have been evicted, so an earlier entry may have executed the command. This
    /// entry did nothing.
    ///
    /// A client that sends this command for the first time retries with a new session and this
    /// `since`. Otherwise the outcome of the earlier attempt is unknown.
    SessionUnknown {
        /// The smallest [`Session::since`](crate::Session::since) of a new session.
        since: u64,
    },
    /// The command was rejected and changed nothing.
    Rejected(Rejection),
}

/// The reason why a command in the log was rejected. A command that passed
/// [`Command::validate`](crate::Command::validate) is never [malformed](Rejection::Malformed).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejection {
    /// The command is malformed.
    #[error("malformed command: {0}")]
    Malformed(Malformed),
    /// A range operation requested a future revision.
    #[error("unknown revision: {requested}; the latest revision is {current}")]
    FutureRevision {
        /// The requested revision.
        requested: i64,
        /// The revision of the state machine.
        current: i64,
    },
    /// The lease does not exist: it was never granted, or has ended.
    #[error("unknown lease: {id}; grant a new lease")]
    LeaseNotFound {
        /// The requested lease.
        id: i64,
    },
    /// A lease with this id exists.
    #[error("duplicate lease: {id}; choose another id, or 0")]
    LeaseExists {
        /// The requested id.
        id: i64,
    },
    /// The evidence for the expiry of the lease is not current; see [`Expiry`](crate::Expiry).
    #[error("lease is not expired: {id}; the evidence is from another term or an earlier lease")]
    LeaseNotExpired {
        /// The lease.
        id: i64,
    },
    /// The number of leases has reached [`LEASES_MAX`](crate::LEASES_MAX).
    #[error("too many leases: the limit is {max}; revoke leases that are not needed")]
    TooManyLeases {
        /// The maximum number of leases.
        max: u64,
    },
    /// More than [`LEASE_KEYS_MAX`](crate::LEASE_KEYS_MAX) keys would be attached to the lease. The
    /// client may attach further keys to another lease.
    #[error("too many keys on lease {lease}: the limit is {max}; attach keys to another lease")]
    TooManyKeys {
        /// The lease.
        lease: i64,
        /// The maximum number of keys.
        max: u64,
    },
    /// The returned pairs exceed [`ANSWER_BYTES_MAX`](crate::ANSWER_BYTES_MAX).
    #[error("response is too large: more than {max} bytes; read fewer keys at once")]
    AnswerTooLarge {
        /// The limit in bytes.
        max: u64,
    },
}

/// The maximum size of a response, in bytes: the returned keys and values, and 64 bytes for each
/// pair. It fits into a message between nodes. All replicas must have the same limit, so it is not
/// configurable.
pub const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The response to an executed command.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Response {
    /// The revision of the state machine after the command.
    pub revision: i64,
    /// The result of the request.
    pub result: RequestResult,
}

/// The result of a request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RequestResult {
    /// The result of a put.
    Put(PutResult),
    /// The result of a delete.
    Delete(DeleteResult),
    /// The result of a transaction.
    Txn(TxnResult),
    /// The result of a grant.
    Grant(GrantResult),
    /// The result of a revocation.
    Revoke(RevokeResult),
}

/// The result of a put.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PutResult {
    /// The previous pair, if it was requested and the key existed.
    pub prev_kv: Option<KeyValue>,
}

/// The result of a delete.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeleteResult {
    /// The number of deleted keys.
    pub deleted: u64,
    /// The deleted pairs in the order of their keys, if they were requested.
    pub prev_kvs: Vec<KeyValue>,
}

/// The result of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TxnResult {
    /// All comparisons held.
    pub succeeded: bool,
    /// The results of the executed operations, in their order.
    pub results: Vec<OpResult>,
}

/// The result of one operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OpResult {
    /// The result of a put.
    Put(PutResult),
    /// The result of a delete.
    Delete(DeleteResult),
    /// The result of a range read. Its `revision` includes the earlier changes of the transaction.
    Range(RangeResponse),
}

/// The result of a grant. In the response to a retry, the lease may have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GrantResult {
    /// The lease.
    pub lease: Lease,
}

/// The result of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RevokeResult {
    /// The lease that ended.
    pub lease: Lease,
    /// The number of deleted keys.
    pub deleted: u64,
}
