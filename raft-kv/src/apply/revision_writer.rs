//! The changes of one request, which share a revision.

use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;
use prost::Message;

use crate::apply::BatchApply;
use crate::command::{Delete, Op, Put, Txn};
use crate::error::StoreFault;
use crate::outcome::{DeleteResult, OpResult, PutResult, Rejection, TxnResult};
use crate::range::KeyValue;
use crate::read;
use crate::read::fingerprint;
use crate::store::ReadStore;
use crate::store::layout::{self, Revision};
use crate::wire::{self, VersionRecord};

type Result<T, R> = core::result::Result<T, StoreFault<<R as ReadStore>::Error>>;

/// A writer of the changes of one request. They share a main revision, which exists as soon as
/// there is a change.
pub(super) struct RevisionWriter<'b, 'a, R> {
    /// The batch to which the changes are added.
    pub(super) batch: &'b mut BatchApply<'a, R>,
    /// The revision of the next change.
    next: Revision,
    /// The size of the returned pairs so far, in bytes.
    answer_bytes: u64,
}

impl<'b, 'a, R: ReadStore> RevisionWriter<'b, 'a, R> {
    /// A writer of changes with the main revision `main`.
    pub(super) fn new(batch: &'b mut BatchApply<'a, R>, main: i64) -> Self {
        Self { batch, next: Revision::first_of(main), answer_bytes: 0 }
    }

    /// The revision of the state machine with the changes so far.
    pub(super) fn revision(&self) -> i64 {
        if self.next.sub == 0 { self.batch.state.revision } else { self.next.main }
    }

    /// Executes one side of a transaction, or rejects it without any change.
    pub(super) fn txn(
        &mut self,
        txn: &Txn,
    ) -> Result<core::result::Result<TxnResult, Rejection>, R> {
        let succeeded = self.batch.all_compare(txn)?;
        let ops = if succeeded { &txn.success } else { &txn.failure };
        // A rejected transaction changes nothing, so all checks come before the first change.
        if let Some(rejection) = self.rejection_of_ops(ops)? {
            return Ok(Err(rejection));
        }
        let mut results = Vec::with_capacity(ops.len());
        for op in ops {
            results.push(self.op(op)?);
            if self.answer_is_too_large() {
                break;
            }
        }
        Ok(Ok(TxnResult { succeeded, results }))
    }

    /// The reason to reject the operations of a transaction, if there is one.
    fn rejection_of_ops(&mut self, ops: &[Op]) -> Result<Option<Rejection>, R> {
        for op in ops {
            if let Some(rejection) = self.rejection_of_op(op)? {
                return Ok(Some(rejection));
            }
        }
        // Commands of versions without the limit of keys need no lists.
        if self.batch.lease_keys_max.is_none() {
            return Ok(None);
        }
        let (mut puts, mut deletes) = (Vec::new(), Vec::new());
        for op in ops {
            match op {
                Op::Put(put) => puts.push(put),
                Op::Delete(delete) => deletes.push(&delete.keys),
                Op::Range(_) => {}
            }
        }
        self.rejection_of_puts(&puts, &deletes)
    }

    /// The reason to reject one operation, if there is one.
    fn rejection_of_op(&self, op: &Op) -> Result<Option<Rejection>, R> {
        let current = self.batch.state.revision;
        Ok(match op {
            Op::Put(put) if put.lease != 0 && !self.batch.is_lease(put.lease)? => {
                Some(Rejection::LeaseNotFound { id: put.lease })
            }
            Op::Range(range) => match range.revision {
                Some(requested) if requested > current => {
                    Some(Rejection::FutureRevision { requested, current })
                }
                _ => None,
            },
            Op::Put(_) | Op::Delete(_) => None,
        })
    }

    fn op(&mut self, op: &Op) -> Result<OpResult, R> {
        Ok(match op {
            Op::Put(put) => OpResult::Put(self.put(put)?),
            Op::Delete(delete) => OpResult::Delete(self.delete(delete)?),
            Op::Range(range) => {
                let left = self.batch.answer_bytes_max.saturating_sub(self.answer_bytes);
                let (found, bytes) = read::range_within(
                    &self.batch.overlay,
                    range,
                    range.revision,
                    self.revision(),
                    left,
                )?;
                self.answer_bytes = self.answer_bytes.saturating_add(bytes);
                OpResult::Range(found)
            }
        })
    }

    /// Returns true if the response exceeds the limit of the entry.
    pub(super) fn answer_is_too_large(&self) -> bool {
        self.answer_bytes > self.batch.answer_bytes_max
    }

    /// Adds the size of a returned pair.
    fn count_returned(&mut self, kv: &KeyValue) {
        self.answer_bytes = self.answer_bytes.saturating_add(kv.answer_bytes());
    }

    /// Puts a key.
    pub(super) fn put(&mut self, put: &Put) -> Result<PutResult, R> {
        let prev_kv = read::latest(&self.batch.overlay, &put.key)?;
        let (create_revision, version) = match &prev_kv {
            Some(previous) => (
                previous.create_revision,
                (previous.version.checked_add(1))
                    .ok_or(StoreFault::Damaged("the version of a key is too large"))?,
            ),
            None => (self.next.main, 1),
        };
        let record: Bytes = wire::KeyValue {
            key: put.key.clone(),
            create_revision,
            mod_revision: self.next.main,
            version,
            value: put.value.clone(),
            lease: put.lease,
        }
        .encode_to_vec()
        .into();
        let current = layout::current_key(&put.key);
        self.batch.overlay.put(current, record.clone());
        let attached_to = prev_kv.as_ref().map_or(0, |kv| kv.lease);
        self.move_key(&put.key, attached_to, put.lease)?;
        self.write_version(&put.key, record, VersionRecord { removed: false });
        let prev_kv = prev_kv.filter(|_| put.prev_kv);
        if let Some(kv) = &prev_kv {
            self.count_returned(kv);
        }
        Ok(PutResult { prev_kv })
    }

    /// Deletes all keys of a range.
    pub(super) fn delete(&mut self, delete: &Delete) -> Result<DeleteResult, R> {
        let mut removed = Vec::new();
        read::visit_latest(&self.batch.overlay, &delete.keys, |kv| {
            removed.push(kv);
            ControlFlow::Continue(())
        })?;
        for kv in &removed {
            self.delete_key(kv)?;
            if delete.prev_kv {
                self.count_returned(kv);
            }
        }
        Ok(DeleteResult {
            deleted: removed.len() as u64,
            prev_kvs: if delete.prev_kv { removed } else { Vec::new() },
        })
    }

    /// Deletes a key that exists.
    pub(super) fn delete_key(&mut self, kv: &KeyValue) -> Result<(), R> {
        let tombstone = wire::KeyValue {
            key: kv.key.clone(),
            mod_revision: self.next.main,
            ..wire::KeyValue::default()
        };
        let current = layout::current_key(&kv.key);
        self.batch.overlay.delete(current);
        self.move_key(&kv.key, kv.lease, 0)?;
        let tombstone = tombstone.encode_to_vec().into();
        self.write_version(&kv.key, tombstone, VersionRecord { removed: true });
        Ok(())
    }

    /// Adds a change to the history.
    fn write_version(&mut self, key: &[u8], record: Bytes, version: VersionRecord) {
        let history_key = layout::history_key(self.next);
        let digest = &mut self.batch.state.digest;
        *digest = digest.wrapping_add(fingerprint::pair_fingerprint(&history_key, &record));
        self.batch.overlay.put(history_key, record);
        self.batch.overlay.put(layout::version_key(key, self.next), version.encode_to_vec().into());
        self.next.sub += 1;
    }
}
