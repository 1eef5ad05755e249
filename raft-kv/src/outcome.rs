//! What became of an entry.

use alloc::vec::Vec;

use crate::apply::lease::Lease;
use crate::range::{KeyValue, RangeResponse};
use crate::validate::Malformed;

/// What applying an entry came to. Every replica arrives at the same outcome.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The entry carried no command.
    Noop,
    /// The command was carried out: by this entry or, if its session had already seen it, by the
    /// earlier one whose response this is.
    Done(Response),
    /// The command was carried out by an earlier entry, whose response was too large to be kept.
    AlreadyDone {
        /// The revision at which it was carried out.
        revision: i64,
    },
    /// A later command of the same session was already carried out. Whether this one was is no
    /// longer known; it did nothing now.
    SessionStale {
        /// The session's latest sequence.
        latest: u64,
    },
    /// The session may have been forgotten, so the command may already have been carried out; it
    /// did nothing now. A client that has never sent this command makes up a new identifier and
    /// tries again with this `since`; one that has must take the earlier attempt's fate as unknown.
    SessionUnknown {
        /// The value for [`Session::since`](crate::Session::since) that a new session needs at
        /// least.
        since: u64,
    },
    /// The command was refused and changed nothing.
    Rejected(Rejection),
}

/// Why a command in the log was refused. A proposer that calls
/// [`Command::validate`](crate::Command::validate) never sees [`Rejection::Malformed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Rejection {
    /// The command cannot be carried out by anyone.
    #[error("malformed command: {0}")]
    Malformed(Malformed),
    /// A range operation asked for a revision that is not there yet.
    #[error("revision {requested} is in the future: the store is at revision {current}")]
    FutureRevision {
        /// The revision asked for.
        requested: i64,
        /// The revision of the state machine.
        current: i64,
    },
    /// There is no such lease: it was never granted, was revoked, or has expired.
    #[error("there is no lease {id}")]
    LeaseNotFound {
        /// The lease asked for.
        id: i64,
    },
    /// There is a lease of this number already.
    #[error("there is a lease {id} already")]
    LeaseExists {
        /// The number.
        id: i64,
    },
    /// The lease has not expired, though a leader thought so: see [`Expiry`](crate::Expiry).
    #[error("lease {id} was found to be over in another term, or is another one since")]
    LeaseNotExpired {
        /// The lease.
        id: i64,
    },
    /// There are [`LEASES_MAX`](crate::LEASES_MAX) leases.
    #[error("there are {max} leases, which is as many as may be")]
    TooManyLeases {
        /// How many there may be.
        max: u64,
    },
    /// More than [`LEASE_KEYS_MAX`](crate::LEASE_KEYS_MAX) keys would hang on the lease. Be granted
    /// another one, and hang the next keys on that.
    #[error("no more than {max} keys may hang on lease {lease}: be granted another one for more")]
    TooManyKeys {
        /// The lease.
        lease: i64,
        /// How many keys may hang on it.
        max: u64,
    },
    /// The pairs that the request returns are more than
    /// [`ANSWER_BYTES_MAX`](crate::ANSWER_BYTES_MAX).
    #[error("the answer is too large: more than {max} bytes; read fewer keys at once")]
    AnswerTooLarge {
        /// The limit in bytes.
        max: u64,
    },
}

/// The largest answer of a request: the keys and values that it returns, with up to 64 bytes more
/// for each pair. A larger answer could not travel from the leader to the node that was asked. The
/// same on every replica, so not configurable.
pub const ANSWER_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The response to a command that was carried out.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Response {
    /// The revision of the state machine after the command.
    pub revision: i64,
    /// What it returned.
    pub result: RequestResult,
}

/// What a request returned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RequestResult {
    /// Of a put.
    Put(PutResult),
    /// Of a delete.
    Delete(DeleteResult),
    /// Of a transaction.
    Txn(TxnResult),
    /// Of a grant.
    Grant(GrantResult),
    /// Of a revocation.
    Revoke(RevokeResult),
}

/// What a put returned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PutResult {
    /// What the key held before, if that was asked for and the key was there.
    pub prev_kv: Option<KeyValue>,
}

/// What a delete returned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeleteResult {
    /// How many keys were removed.
    pub deleted: u64,
    /// What was removed, in key order, if that was asked for.
    pub prev_kvs: Vec<KeyValue>,
}

/// What a transaction returned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TxnResult {
    /// Whether all comparisons held.
    pub succeeded: bool,
    /// What the operations of the chosen side returned, in their order.
    pub results: Vec<OpResult>,
}

/// What one operation of a transaction returned.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OpResult {
    /// Of a put.
    Put(PutResult),
    /// Of a delete.
    Delete(DeleteResult),
    /// Of a range read. Its `revision` counts changes that the transaction has already made.
    Range(RangeResponse),
}

/// What a grant returned. The lease may be over already if it is a retry that is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GrantResult {
    /// The lease.
    pub lease: Lease,
}

/// What a revocation returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RevokeResult {
    /// The lease that ended.
    pub lease: Lease,
    /// How many keys went with it.
    pub deleted: u64,
}
