//! The validation of commands: their structure, and configured limits.
//!
//! Only the proposer checks the limits, because they are configuration. Replicas with different
//! limits would decide differently about an entry and diverge. Every replica checks the structure
//! when it applies an entry, because a malformed command in the log must not stop the cluster or
//! damage the store.

use alloc::collections::BTreeSet;
use core::ops::Bound;

use bytes::Bytes;

use crate::apply::lease::LEASE_TTL_MAX;
use crate::command::{Command, Op, Operand, Request};
use crate::range::{End, KeyRange};

/// The maximum length of a key, in bytes. It is part of the format, so it is not configurable.
///
/// An escaped key is up to twice as long. With prefix and revision it must be shorter than 64 KiB,
/// the limit of common embedded stores.
pub const KEY_BYTES_MAX: usize = 32_000;

/// The limits of proposed commands. See [`Command::validate`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// The maximum length of a key, in bytes. Values above [`KEY_BYTES_MAX`] have no effect.
    pub key_bytes_max: usize,
    /// The maximum length of a value, in bytes.
    pub value_bytes_max: usize,
    /// The maximum number of comparisons of a transaction, and of operations of each side.
    pub txn_ops_max: usize,
    /// The maximum size of an encoded command, in bytes.
    pub request_bytes_max: usize,
}

impl Default for Limits {
    /// The limits of etcd on transactions and requests, keys of up to 8 KiB, and values of up to 1
    /// MiB.
    fn default() -> Self {
        Self {
            key_bytes_max: 8 * 1024,
            value_bytes_max: 1024 * 1024,
            txn_ops_max: 128,
            request_bytes_max: 3 * 512 * 1024,
        }
    }
}

/// The reason why no replica can execute a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    /// The bytes are not a command.
    #[error("invalid bytes: they are not an encoded command")]
    Undecodable,
    /// A key is empty.
    #[error("invalid key: it is empty; choose a key of at least one byte")]
    EmptyKey,
    /// A key is longer than [`KEY_BYTES_MAX`].
    #[error("key is too long: the limit is {KEY_BYTES_MAX} bytes")]
    KeyTooLong,
    /// One side of a transaction changes a key twice: two puts, or a put and a delete.
    #[error("duplicate key in a transaction; change each key only once")]
    DuplicateKey,
    /// A read at a revision below 1, the first revision.
    #[error("invalid revision: it must be at least 1")]
    RevisionNotPositive,
    /// The time to live of a lease is less than 1 s, or more than [`LEASE_TTL_MAX`].
    #[error("invalid time to live: it must be from 1 to {LEASE_TTL_MAX} seconds")]
    LeaseTtlOutOfRange,
}

/// The reason why a command must not be proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ValidateError {
    /// No replica can execute the command.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// A key exceeds the limit.
    #[error("key is too long: {bytes} bytes; the limit is {max} bytes")]
    KeyTooLong {
        /// The length of the key.
        bytes: usize,
        /// The limit, [`Limits::key_bytes_max`].
        max: usize,
    },
    /// A value exceeds the limit.
    #[error("value is too long: {bytes} bytes; the limit is {max} bytes")]
    ValueTooLong {
        /// The length of the value.
        bytes: usize,
        /// The limit, [`Limits::value_bytes_max`].
        max: usize,
    },
    /// A transaction has too many comparisons, or too many operations on one side.
    #[error("transaction is too large: {ops} operations; the limit is {max} operations")]
    TooManyOps {
        /// The number of comparisons or operations.
        ops: usize,
        /// The limit, [`Limits::txn_ops_max`].
        max: usize,
    },
    /// The encoded command exceeds the limit.
    #[error("request is too large: {bytes} bytes; the limit is {max} bytes")]
    RequestTooLarge {
        /// The encoded size.
        bytes: usize,
        /// The limit, [`Limits::request_bytes_max`].
        max: usize,
    },
}

impl Command {
    /// Checks structure and limits, before the command is proposed. A command that passes is never
    /// rejected with [`Rejection::Malformed`](crate::Rejection::Malformed).
    ///
    /// # Errors
    /// [`ValidateError`] with the first violation.
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

/// Checks the structure of a request, which depends on the request alone.
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
    // As in etcd, two deletes may overlap. A put must not be in the range of a delete, in any
    // order.
    for op in ops {
        if let Op::Delete(delete) = op
            && touches(&puts, &delete.keys)
        {
            return Err(Malformed::DuplicateKey);
        }
    }
    Ok(())
}

/// Returns true if the range contains one of the keys.
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

/// The kind of a byte string in a request.
enum ByteKind {
    Key,
    Value,
}

/// Calls `visit` for each key and value of a request.
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
