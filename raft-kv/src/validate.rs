//! What a command must satisfy: structure, which every replica checks, and limits, which only the
//! proposer checks.
//!
//! Limits are configuration. If replicas checked them while applying, two replicas with different
//! settings would decide differently about the same entry and diverge; so they are checked before a
//! command is proposed, and only there. The structure is checked again on apply, because a log that
//! holds a bad command must neither stop the cluster nor break the key layout.

use alloc::collections::BTreeSet;
use core::ops::Bound;

use bytes::Bytes;

use crate::apply::lease::LEASE_TTL_MAX;
use crate::command::{Command, Op, Operand, Request};
use crate::range::{End, KeyRange};

/// The longest key that the stored layout has room for: an escaped key is up to twice as long, and
/// with prefix and revision must stay below 64 KiB, the key limit of common embedded stores. Part
/// of the format, so it never changes with configuration.
pub const KEY_BYTES_MAX: usize = 32_000;

/// Limits on what may be proposed. See [`Command::validate`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// The longest key. Never effective above [`KEY_BYTES_MAX`].
    pub key_bytes_max: usize,
    /// The longest value.
    pub value_bytes_max: usize,
    /// The most comparisons of a transaction, and the most operations of each of its two sides.
    pub txn_ops_max: usize,
    /// The largest encoded command.
    pub request_bytes_max: usize,
}

impl Default for Limits {
    /// etcd's limits on transactions and requests; keys up to 8 KiB.
    fn default() -> Self {
        Self {
            key_bytes_max: 8 * 1024,
            value_bytes_max: 1024 * 1024,
            txn_ops_max: 128,
            request_bytes_max: 3 * 512 * 1024,
        }
    }
}

/// Why a command makes no sense to any replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    /// The bytes are not a command.
    #[error("the bytes are not an encoded command")]
    Undecodable,
    /// A key is empty.
    #[error("a key must not be empty")]
    EmptyKey,
    /// A key is longer than [`KEY_BYTES_MAX`].
    #[error("a key is longer than {KEY_BYTES_MAX} bytes")]
    KeyTooLong,
    /// A transaction changes a key twice on one side: two puts, or a put and a delete.
    #[error("a transaction may change a key only once")]
    DuplicateKey,
    /// A read names a revision below 1; history begins at revision 1.
    #[error("a revision is at least 1")]
    RevisionNotPositive,
    /// A lease would live for less than a second, or for longer than [`LEASE_TTL_MAX`].
    #[error("a lease lives for 1 to {LEASE_TTL_MAX} seconds")]
    LeaseTtlOutOfRange,
}

/// Why a command must not be proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ValidateError {
    /// No replica could carry it out.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A key is over the limit.
    #[error("a key of {bytes} bytes is over the limit of {max}")]
    KeyTooLong {
        /// The key's length.
        bytes: usize,
        /// [`Limits::key_bytes_max`].
        max: usize,
    },
    /// A value is over the limit.
    #[error("a value of {bytes} bytes is over the limit of {max}")]
    ValueTooLong {
        /// The value's length.
        bytes: usize,
        /// [`Limits::value_bytes_max`].
        max: usize,
    },
    /// A transaction has too many comparisons, or too many operations on one side.
    #[error("a transaction of {ops} operations is over the limit of {max}")]
    TooManyOps {
        /// How many there are.
        ops: usize,
        /// [`Limits::txn_ops_max`].
        max: usize,
    },
    /// The encoded command is over the limit.
    #[error("a request of {bytes} bytes is over the limit of {max}")]
    RequestTooLarge {
        /// The encoded length.
        bytes: usize,
        /// [`Limits::request_bytes_max`].
        max: usize,
    },
}

impl Command {
    /// Checks structure and limits. Call it before proposing: what passes is never answered with
    /// [`Rejection::Malformed`](crate::Rejection::Malformed).
    ///
    /// # Errors
    /// The first violation found.
    pub fn validate(&self, limits: &Limits) -> Result<(), ValidateError> {
        check_structure(&self.request)?;
        if let Request::Txn(txn) = &self.request {
            let ops = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
            if ops > limits.txn_ops_max {
                return Err(ValidateError::TooManyOps { ops, max: limits.txn_ops_max });
            }
        }
        let mut found = Ok(());
        visit_bytes(&self.request, &mut |part, bytes| {
            let bytes = bytes.len();
            let violation = match part {
                ByteKind::Key if bytes > limits.key_bytes_max => {
                    ValidateError::KeyTooLong { bytes, max: limits.key_bytes_max }
                }
                ByteKind::Value if bytes > limits.value_bytes_max => {
                    ValidateError::ValueTooLong { bytes, max: limits.value_bytes_max }
                }
                _ => return,
            };
            if found.is_ok() {
                found = Err(violation);
            }
        });
        found?;
        let bytes = self.encoded_len();
        if bytes > limits.request_bytes_max {
            return Err(ValidateError::RequestTooLarge { bytes, max: limits.request_bytes_max });
        }
        Ok(())
    }
}

/// Everything that must hold for a request to be carried out; a function of the request alone.
pub(crate) fn check_structure(request: &Request) -> Result<(), Malformed> {
    match request {
        Request::Put(put) => check_key(&put.key),
        Request::Delete(delete) => check_range(&delete.keys),
        Request::Txn(txn) => {
            for compare in &txn.compare {
                check_range(&compare.keys)?;
            }
            check_side(&txn.success)?;
            check_side(&txn.failure)
        }
        Request::Grant(grant) if !(1..=LEASE_TTL_MAX).contains(&grant.ttl) => {
            Err(Malformed::LeaseTtlOutOfRange)
        }
        Request::Grant(_) | Request::Revoke(_) => Ok(()),
    }
}

fn check_side(ops: &[Op]) -> Result<(), Malformed> {
    let mut puts: BTreeSet<&[u8]> = BTreeSet::new();
    for op in ops {
        match op {
            Op::Put(put) => {
                check_key(&put.key)?;
                if !puts.insert(&put.key) {
                    return Err(Malformed::DuplicateKey);
                }
            }
            Op::Delete(delete) => check_range(&delete.keys)?,
            Op::Range(range) => {
                check_range(&range.keys)?;
                if range.revision.is_some_and(|revision| revision < 1) {
                    return Err(Malformed::RevisionNotPositive);
                }
            }
        }
    }
    // Whatever their order, as in etcd: two deletes may overlap, but a put may not meet a delete.
    for op in ops {
        if let Op::Delete(delete) = op
            && touches(&puts, &delete.keys)
        {
            return Err(Malformed::DuplicateKey);
        }
    }
    Ok(())
}

fn touches(puts: &BTreeSet<&[u8]>, keys: &KeyRange) -> bool {
    let start: &[u8] = &keys.start;
    let end = match keys.stop() {
        End::Single => return puts.contains(start),
        End::Open => Bound::Unbounded,
        // `BTreeSet::range` panics on an inverted range.
        End::Before(end) => Bound::Excluded(end.max(start)),
    };
    puts.range::<[u8], _>((Bound::Included(start), end)).next().is_some()
}

fn check_range(keys: &KeyRange) -> Result<(), Malformed> {
    check_key(&keys.start)?;
    check_length(&keys.end)
}

fn check_key(key: &[u8]) -> Result<(), Malformed> {
    if key.is_empty() {
        return Err(Malformed::EmptyKey);
    }
    check_length(key)
}

fn check_length(key: &[u8]) -> Result<(), Malformed> {
    if key.len() > KEY_BYTES_MAX {
        return Err(Malformed::KeyTooLong);
    }
    Ok(())
}

enum ByteKind {
    Key,
    Value,
}

fn visit_bytes(request: &Request, visit: &mut impl FnMut(ByteKind, &Bytes)) {
    let range = |keys: &KeyRange, visit: &mut dyn FnMut(ByteKind, &Bytes)| {
        visit(ByteKind::Key, &keys.start);
        visit(ByteKind::Key, &keys.end);
    };
    match request {
        Request::Put(put) => {
            visit(ByteKind::Key, &put.key);
            visit(ByteKind::Value, &put.value);
        }
        Request::Delete(delete) => range(&delete.keys, visit),
        Request::Grant(_) | Request::Revoke(_) => {}
        Request::Txn(txn) => {
            for compare in &txn.compare {
                range(&compare.keys, visit);
                if let Operand::Value(value) = &compare.operand {
                    visit(ByteKind::Value, value);
                }
            }
            for op in txn.success.iter().chain(&txn.failure) {
                match op {
                    Op::Put(put) => {
                        visit(ByteKind::Key, &put.key);
                        visit(ByteKind::Value, &put.value);
                    }
                    Op::Delete(delete) => range(&delete.keys, visit),
                    Op::Range(read) => range(&read.keys, visit),
                }
            }
        }
    }
}
