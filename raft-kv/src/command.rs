//! The commands in the log.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::range::{Fields, KeyRange, RangeRequest};

/// A request of a client, and the session by which a retry is recognized.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Command {
    /// The session. Without a session, a command that the log contains twice is executed twice.
    pub session: Option<Session>,
    /// The request.
    pub request: Request,
}

impl Command {
    /// A command without a session.
    pub fn new(request: impl Into<Request>) -> Self {
        Self { session: None, request: request.into() }
    }

    /// Adds a session.
    #[must_use]
    pub fn with_session(mut self, session: Session) -> Self {
        self.session = Some(session);
        self
    }
}

/// The identity of one command of one client, so that the command is executed once (dissertation
/// 6.3). A client has one command in flight per session. Its next command has a higher sequence
/// number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// The id of the session, which must be unique: random, or assigned.
    pub client: u128,
    /// The number of the command. A retry has the same number, and a new command a higher one.
    pub sequence: u64,
    /// A log index that a node had applied before the first command of the session was sent. It is
    /// the same in all commands of the session, including retries.
    ///
    /// A node that creates a session uses its own applied index, and a client uses one that a node
    /// returned. The state machine distinguishes new sessions from evicted ones by this index. 0 is
    /// always correct. But once a session was evicted, a new session with 0 is rejected with
    /// [`SessionUnknown`](crate::Outcome::SessionUnknown).
    pub since: u64,
}

/// The request of a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Set a key.
    Put(Put),
    /// Delete keys.
    Delete(Delete),
    /// Compare keys, and execute one of two lists of operations, atomically.
    Txn(Txn),
    /// Grant a lease.
    Grant(Grant),
    /// End a lease.
    Revoke(Revoke),
}

impl Request {
    /// Returns true if the response can contain keys and values.
    pub(crate) fn returns_pairs(&self) -> bool {
        let returns = |op: &Op| match op {
            Op::Put(put) => put.prev_kv,
            Op::Delete(delete) => delete.prev_kv,
            Op::Range(_) => true,
        };
        match self {
            Self::Put(put) => put.prev_kv,
            Self::Delete(delete) => delete.prev_kv,
            Self::Txn(txn) => txn.success.iter().chain(&txn.failure).any(returns),
            Self::Grant(_) | Self::Revoke(_) => false,
        }
    }
}

/// Sets a key to a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Put {
    /// The key. Not empty.
    pub key: Bytes,
    /// The value. It may be empty.
    pub value: Bytes,
    /// Return the previous pair.
    pub prev_kv: bool,
    /// The lease to which the key is attached; 0 for none. An earlier lease is replaced.
    pub lease: i64,
}

impl Put {
    /// A put of `value` without a lease.
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), value: value.into(), prev_kv: false, lease: 0 }
    }

    /// Requests the previous pair.
    #[must_use]
    pub fn returning_previous(mut self) -> Self {
        self.prev_kv = true;
        self
    }

    /// Attaches the key to a lease. The key is deleted when the lease ends.
    #[must_use]
    pub fn with_lease(mut self, lease: i64) -> Self {
        self.lease = lease;
        self
    }
}

/// Deletes all keys of a range.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Delete {
    /// The keys to delete.
    pub keys: KeyRange,
    /// Return the deleted pairs.
    pub prev_kv: bool,
}

impl Delete {
    /// A delete of `keys`.
    #[must_use]
    pub fn new(keys: KeyRange) -> Self {
        Self { keys, prev_kv: false }
    }

    /// Requests the deleted pairs.
    #[must_use]
    pub fn returning_previous(mut self) -> Self {
        self.prev_kv = true;
        self
    }
}

/// A transaction: executes `success` if all comparisons hold, and otherwise `failure`.
///
/// The operations are executed in order, and each sees the changes of the earlier ones. All changes
/// make one revision. A transaction must not change a key twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Txn {
    /// The comparisons. An empty list holds.
    pub compare: Vec<Compare>,
    /// The operations if all comparisons hold.
    pub success: Vec<Op>,
    /// The operations otherwise.
    pub failure: Vec<Op>,
}

impl Txn {
    /// A compare-and-set: executes `put` only if the key was last changed at `mod_revision`; 0
    /// means that the key does not exist. Otherwise it reads the revisions of the key without its
    /// value. A session can always store the result.
    #[must_use]
    pub fn put_if_unchanged(put: Put, mod_revision: i64) -> Self {
        let keys = KeyRange::key(put.key.clone());
        Self {
            compare: Vec::from([Compare {
                keys: keys.clone(),
                relation: Relation::Equal,
                operand: Operand::ModRevision(mod_revision),
            }]),
            success: Vec::from([Op::Put(put)]),
            failure: Vec::from([Op::Range(RangeRequest::new(keys).projection(Fields::Keys))]),
        }
    }
}

/// One operation of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Set a key.
    Put(Put),
    /// Delete keys.
    Delete(Delete),
    /// Read keys.
    Range(RangeRequest),
}

/// A condition on all keys of a range. A range without keys is compared as one key whose numbers
/// are all 0. A comparison of values then fails.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Compare {
    /// The keys to compare.
    pub keys: KeyRange,
    /// The required relation of the stored value to the operand.
    pub relation: Relation,
    /// The compared field, and the value to compare it with.
    pub operand: Operand,
}

impl Compare {
    /// A condition on one key.
    pub fn key(key: impl Into<Bytes>, relation: Relation, operand: Operand) -> Self {
        Self { keys: KeyRange::key(key), relation, operand }
    }
}

/// The relation of the stored value, on the left, to the operand, on the right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `>`
    Greater,
    /// `<`
    Less,
}

/// The field that a [`Compare`] compares, with the value to compare it with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// The version of the key.
    Version(i64),
    /// The creation revision of the key.
    CreateRevision(i64),
    /// The revision of the last change of the key.
    ModRevision(i64),
    /// The value of the key, in byte order.
    Value(Bytes),
    /// The lease to which the key is attached.
    Lease(i64),
}

/// Grants a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// The id of the lease, which no other lease has. With 0, the state machine chooses the index
    /// of the entry or, if that id is used, the next id that it never chose before.
    pub id: i64,
    /// The time to live in seconds: 1 to [`LEASE_TTL_MAX`](crate::LEASE_TTL_MAX).
    pub ttl: i64,
}

/// Ends a lease, and deletes all keys attached to it in one revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revoke {
    /// The id of the lease.
    pub id: i64,
    /// The evidence that the lease has expired; `None` for a request of a client.
    pub expiry: Option<Expiry>,
}

impl Revoke {
    /// A revocation by a client, regardless of the remaining time.
    #[must_use]
    pub fn new(id: i64) -> Self {
        Self { id, expiry: None }
    }
}

/// The evidence of a leader that a lease has expired.
///
/// The revocation is rejected if its entry has another term, because another leader then measures
/// the time. It is also rejected if the lease is a later one with the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Expiry {
    /// The term of the leader whose clock measured the time.
    pub term: u64,
    /// The grant of the expired lease. See [`Lease::granted_at`](crate::Lease::granted_at).
    pub granted_at: u64,
}

impl From<Put> for Request {
    fn from(put: Put) -> Self {
        Self::Put(put)
    }
}

impl From<Delete> for Request {
    fn from(delete: Delete) -> Self {
        Self::Delete(delete)
    }
}

impl From<Txn> for Request {
    fn from(txn: Txn) -> Self {
        Self::Txn(txn)
    }
}

impl From<Grant> for Request {
    fn from(grant: Grant) -> Self {
        Self::Grant(grant)
    }
}

impl From<Revoke> for Request {
    fn from(revoke: Revoke) -> Self {
        Self::Revoke(revoke)
    }
}
