//! What a client may ask the state machine to do, as it stands in the log.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::range::{Fields, KeyRange, RangeRequest};

/// A command: a request, and the session that makes a retry of it apply once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Command {
    /// Without a session, a command that reaches the log twice is applied twice.
    pub session: Option<Session>,
    /// What to do.
    pub request: Request,
}

impl Command {
    /// A command without a session.
    pub fn new(request: impl Into<Request>) -> Self {
        Self { session: None, request: request.into() }
    }

    /// The same command under a session.
    #[must_use]
    pub fn with_session(mut self, session: Session) -> Self {
        self.session = Some(session);
        self
    }
}

/// Names one command of one client, so that it is applied once however often it is sent
/// (dissertation, 6.3). A client has one command in flight per session, and sends its next one with
/// a higher sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Session {
    /// The client's session, an identifier that nobody else uses: random, or assigned.
    pub client: u128,
    /// The command's number; a retry has the same one, a new command a higher one.
    pub sequence: u64,
    /// A log index that was applied somewhere before the session's first command was sent; the same
    /// in every command of the session, retries included. A node that makes up a session takes
    /// its own applied index; a client takes one that a node told it. It is how the state machine
    /// tells a session that it has never seen from one that it has forgotten. 0 is always true, but
    /// a new session that says so is refused with
    /// [`SessionUnknown`](crate::Outcome::SessionUnknown) once any session had to be forgotten.
    pub since: u64,
}

/// What a command asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// Set a key.
    Put(Put),
    /// Remove keys.
    Delete(Delete),
    /// Compare, then do one thing or the other, atomically.
    Txn(Txn),
    /// Begin a lease.
    Grant(Grant),
    /// End a lease.
    Revoke(Revoke),
}

impl Request {
    /// Returns true if the response can hold keys and values.
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
    /// The key; not empty.
    pub key: Bytes,
    /// The value; may be empty.
    pub value: Bytes,
    /// Whether to return what the key held before.
    pub prev_kv: bool,
    /// The lease that the key hangs on from then on; 0 means none, also if it hung on one before.
    pub lease: i64,
}

impl Put {
    /// Sets `key` to `value`.
    pub fn new(key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        Self { key: key.into(), value: value.into(), prev_kv: false, lease: 0 }
    }

    /// Also returns what the key held before.
    #[must_use]
    pub fn returning_previous(mut self) -> Self {
        self.prev_kv = true;
        self
    }

    /// Hangs the key on a lease: it goes when the lease does.
    #[must_use]
    pub fn with_lease(mut self, lease: i64) -> Self {
        self.lease = lease;
        self
    }
}

/// Removes every key of a range.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Delete {
    /// Which keys.
    pub keys: KeyRange,
    /// Whether to return what was removed.
    pub prev_kv: bool,
}

impl Delete {
    /// Removes `keys`.
    #[must_use]
    pub fn new(keys: KeyRange) -> Self {
        Self { keys, prev_kv: false }
    }

    /// Also returns what was removed.
    #[must_use]
    pub fn returning_previous(mut self) -> Self {
        self.prev_kv = true;
        self
    }
}

/// If every comparison holds, does `success`, otherwise `failure`; in order, each operation seeing
/// those before it. All changes together make one revision. No key may be changed twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Txn {
    /// All of these must hold; none at all always does.
    pub compare: Vec<Compare>,
    /// What to do if they do.
    pub success: Vec<Op>,
    /// What to do otherwise.
    pub failure: Vec<Op>,
}

impl Txn {
    /// Puts `put` only if its key was last changed at `mod_revision`, 0 meaning that the key is not
    /// there: compare-and-set. Otherwise reads the key without its value, so that the caller learns
    /// its present revision. The result is small enough for a session to keep.
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
    /// Remove keys.
    Delete(Delete),
    /// Read keys.
    Range(RangeRequest),
}

/// A condition that must hold for every key of a range. A range without keys is compared as one
/// key whose numbers are all 0; a comparison of values then fails, since there is no value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Compare {
    /// The keys that must satisfy it.
    pub keys: KeyRange,
    /// How what is stored must relate to the operand.
    pub relation: Relation,
    /// What is compared, and with what.
    pub operand: Operand,
}

impl Compare {
    /// A condition on a single key.
    pub fn key(key: impl Into<Bytes>, relation: Relation, operand: Operand) -> Self {
        Self { keys: KeyRange::key(key), relation, operand }
    }
}

/// How the stored side, on the left, relates to the operand, on the right.
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

/// What a [`Compare`] looks at, with the value to compare it with.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operand {
    /// The key's version.
    Version(i64),
    /// The key's creation revision.
    CreateRevision(i64),
    /// The key's last revision.
    ModRevision(i64),
    /// The key's value, in byte order.
    Value(Bytes),
    /// The lease that the key hangs on.
    Lease(i64),
}

/// Begins a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grant {
    /// A number that no other lease has, or 0 for one that is chosen when the grant is applied: the
    /// index of its entry or, if that is taken, the next one that was never chosen.
    pub id: i64,
    /// How many seconds the lease lives without being kept alive: 1 to
    /// [`LEASE_TTL_MAX`](crate::LEASE_TTL_MAX).
    pub ttl: i64,
}

/// Ends a lease, and removes all keys that hang on it: all of them in one revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revoke {
    /// Which one.
    pub id: i64,
    /// Who found that its time is over; `None` if a client wants it to end.
    pub expiry: Option<Expiry>,
}

impl Revoke {
    /// Ends the lease, whatever its time.
    #[must_use]
    pub fn new(id: i64) -> Self {
        Self { id, expiry: None }
    }
}

/// What a leader knew when it found that a lease has expired. The revocation is refused if it
/// reaches the log in another term, in which somebody else keeps the time, or if the lease is
/// another one of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Expiry {
    /// The term in which the lease expired by its leader's clock.
    pub term: u64,
    /// See [`Lease::granted_at`](crate::Lease::granted_at).
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
