//! Applying entries: a batch under construction, and what commands do to it.

pub(crate) mod lease;
pub(crate) mod session;

use alloc::vec::Vec;
use core::ops::ControlFlow;

use bytes::Bytes;
use prost::Message;

use crate::command::{Command, Compare, Delete, Op, Operand, Put, Relation, Request, Txn};
use crate::entry::{Entry, EntryId, Payload};
use crate::error::{ApplyError, StoreFault};
use crate::outcome::{
    DeleteResult, OpResult, Outcome, PutResult, Rejection, RequestResult, Response, TxnResult,
};
use crate::range::KeyValue;
use crate::read;
use crate::read::fingerprint;
use crate::read::view;
use crate::store::layout::{self, Revision};
use crate::store::overlay::Overlay;
use crate::store::{Batch, ReadStore};
use crate::validate::{Malformed, check_structure};
use crate::wire::{
    self, ANSWER_BOUND_SINCE, COMMAND_VERSION, DecodeError, FORMAT_VERSION, KEYS_BOUND_SINCE,
    StateRecord, VersionRecord,
};

type Result<T, R> = core::result::Result<T, StoreFault<<R as ReadStore>::Error>>;

/// Entries being applied: the store with their effects, and the counters. Nothing outside changes
/// until the batch is committed, so an error half-way needs no undoing.
pub(crate) struct BatchApply<'a, R> {
    pub(crate) overlay: Overlay<'a, R>,
    pub(crate) state: StateRecord,
    pub(crate) capacity: Capacity,
    /// How many keys may hang on a lease by the entry that is being applied; nothing says how many
    /// if it is of a version that knew no bound.
    pub(crate) lease_keys_max: Option<u64>,
    /// The size of the answer to the entry that is being applied, in bytes; unbounded if it is of a
    /// version without that limit.
    answer_bytes_max: u64,
}

/// How many sessions and leases there may be, how many keys on each lease, and how large an answer
/// may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Capacity {
    pub(crate) sessions: u64,
    pub(crate) leases: u64,
    pub(crate) lease_keys: u64,
    pub(crate) answer_bytes: u64,
}

impl<'a, R: ReadStore> BatchApply<'a, R> {
    pub(crate) fn new(store: &'a R, state: StateRecord, capacity: Capacity) -> Self {
        let overlay = Overlay::new(store);
        Self { overlay, state, capacity, lease_keys_max: None, answer_bytes_max: u64::MAX }
    }

    /// The counters after the batch, and the batch, which contains them.
    pub(crate) fn finish(mut self) -> (StateRecord, Batch) {
        let state = self.state.encode_to_vec().into();
        self.overlay.put(Bytes::from_static(layout::STATE_KEY), state);
        (self.state, self.overlay.into_batch())
    }

    pub(crate) fn apply(
        &mut self,
        entry: Entry,
    ) -> core::result::Result<Outcome, ApplyError<R::Error>> {
        let EntryId { term, index } = entry.id;
        let applied = self.state.applied_index;
        if index <= applied {
            return Err(ApplyError::AlreadyApplied { index, applied });
        }
        if index - applied > 1 {
            return Err(ApplyError::Gap { index, applied });
        }
        if term < self.state.applied_term {
            return Err(ApplyError::TermWentBack { index, term, applied: self.state.applied_term });
        }
        let outcome = match entry.payload {
            Payload::Noop => Outcome::Noop,
            Payload::Command(bytes) => match Command::decode_versioned(bytes) {
                Ok((command, version)) => {
                    let is_bound = version >= KEYS_BOUND_SINCE;
                    self.lease_keys_max = is_bound.then_some(self.capacity.lease_keys);
                    let is_bound = version >= ANSWER_BOUND_SINCE;
                    self.answer_bytes_max =
                        if is_bound { self.capacity.answer_bytes } else { u64::MAX };
                    self.command(entry.id, &command)?
                }
                Err(DecodeError::Undecodable) => {
                    Outcome::Rejected(Rejection::Malformed(Malformed::Undecodable))
                }
                Err(DecodeError::UnknownVersion { found }) => {
                    return Err(ApplyError::UnknownCommand {
                        index,
                        found,
                        supported: COMMAND_VERSION,
                    });
                }
            },
        };
        self.state.applied_index = index;
        self.state.applied_term = term;
        Ok(outcome)
    }

    fn command(&mut self, entry: EntryId, command: &Command) -> Result<Outcome, R> {
        if command.version() > 1 && self.state.format != FORMAT_VERSION {
            self.state.format = FORMAT_VERSION;
            self.overlay
                .put(Bytes::from_static(layout::FORMAT_KEY), view::format_record(FORMAT_VERSION));
        }
        // Refused before the session is looked at: a function of the command alone, so a retry is
        // refused the same way without a record of it.
        if let Err(malformed) = check_structure(&command.request) {
            return Ok(Outcome::Rejected(Rejection::Malformed(malformed)));
        }
        match &command.session {
            None => self.execute(entry, &command.request),
            Some(session) => self.apply_once(entry, session, &command.request),
        }
    }

    /// Carries out a request, or changes nothing if it is refused.
    pub(crate) fn execute(&mut self, entry: EntryId, request: &Request) -> Result<Outcome, R> {
        if !request.returns_pairs() {
            return self.carry_out(entry, request);
        }
        // How large the answer is comes out only when it is complete.
        let state = self.state;
        self.overlay.set_savepoint();
        let outcome = self.carry_out(entry, request)?;
        if matches!(outcome, Outcome::Rejected(_)) {
            self.overlay.roll_back();
            self.state = state;
        } else {
            self.overlay.release_savepoint();
        }
        Ok(outcome)
    }

    fn carry_out(&mut self, entry: EntryId, request: &Request) -> Result<Outcome, R> {
        let revision = self.state.revision;
        let next = revision.checked_add(1).ok_or(StoreFault::Damaged("the revision is absurd"))?;
        let mut changes =
            RevisionWriter { transition: self, next: Revision::first_of(next), answer_bytes: 0 };
        let result = match request {
            Request::Put(put) => match changes.refuses_puts(&[put], &[])? {
                None => Ok(RequestResult::Put(changes.put(put)?)),
                Some(rejection) => Err(rejection),
            },
            Request::Delete(delete) => Ok(RequestResult::Delete(changes.delete(delete)?)),
            Request::Txn(txn) => changes.txn(txn)?.map(RequestResult::Txn),
            Request::Grant(grant) => {
                let granted = changes.transition.grant(entry.index, grant)?;
                granted.map(RequestResult::Grant)
            }
            Request::Revoke(revoke) => {
                changes.revoke(entry.term, revoke)?.map(RequestResult::Revoke)
            }
        };
        let revision = changes.revision();
        let is_too_large = changes.answer_is_too_large();
        let result = match result {
            Ok(_) if is_too_large => {
                let max = self.answer_bytes_max;
                return Ok(Outcome::Rejected(Rejection::AnswerTooLarge { max }));
            }
            Ok(result) => result,
            Err(rejection) => return Ok(Outcome::Rejected(rejection)),
        };
        self.state.revision = revision;
        Ok(Outcome::Done(Response { revision, result }))
    }

    fn holds(&self, txn: &Txn) -> Result<bool, R> {
        for compare in &txn.compare {
            let mut holds = None;
            read::visit_latest(&self.overlay, &compare.keys, |kv| {
                let this_holds = compare.holds_for(&kv);
                holds = Some(this_holds);
                if this_holds { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })?;
            if !holds.unwrap_or_else(|| compare.holds_for_absent()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Compare {
    fn holds_for_absent(&self) -> bool {
        match self.operand {
            Operand::Version(number)
            | Operand::CreateRevision(number)
            | Operand::ModRevision(number)
            | Operand::Lease(number) => self.relation.holds(&0, &number),
            Operand::Value(_) => false,
        }
    }

    fn holds_for(&self, kv: &KeyValue) -> bool {
        match &self.operand {
            Operand::Version(version) => self.relation.holds(&kv.version, version),
            Operand::CreateRevision(revision) => self.relation.holds(&kv.create_revision, revision),
            Operand::ModRevision(revision) => self.relation.holds(&kv.mod_revision, revision),
            Operand::Value(value) => self.relation.holds(&kv.value, value),
            Operand::Lease(lease) => self.relation.holds(&kv.lease, lease),
        }
    }
}

impl Relation {
    fn holds<T: Ord>(self, stored: &T, operand: &T) -> bool {
        match self {
            Self::Equal => stored == operand,
            Self::NotEqual => stored != operand,
            Self::Greater => stored > operand,
            Self::Less => stored < operand,
        }
    }
}

/// The changes of one request: they share a main revision, which exists once there is one of them.
pub(crate) struct RevisionWriter<'t, 'a, R> {
    pub(crate) transition: &'t mut BatchApply<'a, R>,
    /// The revision of the next change.
    next: Revision,
    /// The size of the pairs that the request returns so far.
    answer_bytes: u64,
}

impl<R: ReadStore> RevisionWriter<'_, '_, R> {
    /// The revision of the state machine with the changes so far.
    fn revision(&self) -> i64 {
        if self.next.sub == 0 { self.transition.state.revision } else { self.next.main }
    }

    fn txn(&mut self, txn: &Txn) -> Result<core::result::Result<TxnResult, Rejection>, R> {
        let succeeded = self.transition.holds(txn)?;
        let ops = if succeeded { &txn.success } else { &txn.failure };
        // Before anything is changed, since a refused transaction changes nothing.
        for op in ops {
            if let Some(rejection) = self.refuses(op)? {
                return Ok(Err(rejection));
            }
        }
        // Most transactions hang no keys on leases, and are spared the lists.
        if self.transition.lease_keys_max.is_some() {
            let (mut puts, mut deletes) = (Vec::new(), Vec::new());
            for op in ops {
                match op {
                    Op::Put(put) => puts.push(put),
                    Op::Delete(delete) => deletes.push(&delete.keys),
                    Op::Range(_) => {}
                }
            }
            if let Some(rejection) = self.refuses_puts(&puts, &deletes)? {
                return Ok(Err(rejection));
            }
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

    fn refuses(&self, op: &Op) -> Result<Option<Rejection>, R> {
        let current = self.transition.state.revision;
        Ok(match op {
            Op::Put(put) if put.lease != 0 && !self.transition.is_lease(put.lease)? => {
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
                let left = self.transition.answer_bytes_max.saturating_sub(self.answer_bytes);
                let (found, bytes) = read::range_within(
                    &self.transition.overlay,
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

    fn answer_is_too_large(&self) -> bool {
        self.answer_bytes > self.transition.answer_bytes_max
    }

    /// Adds a pair to the answer.
    fn returns(&mut self, kv: &KeyValue) {
        self.answer_bytes = self.answer_bytes.saturating_add(kv.answer_bytes());
    }

    fn put(&mut self, put: &Put) -> Result<PutResult, R> {
        let prev_kv = read::latest(&self.transition.overlay, &put.key)?;
        let (create_revision, version) = match &prev_kv {
            Some(previous) => (
                previous.create_revision,
                (previous.version.checked_add(1))
                    .ok_or(StoreFault::Damaged("the version of a key is absurd"))?,
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
        self.transition.overlay.put(current, record.clone());
        let hung_on = prev_kv.as_ref().map_or(0, |kv| kv.lease);
        self.move_key(&put.key, hung_on, put.lease)?;
        self.write_version(&put.key, record, VersionRecord { removed: false });
        let prev_kv = prev_kv.filter(|_| put.prev_kv);
        if let Some(kv) = &prev_kv {
            self.returns(kv);
        }
        Ok(PutResult { prev_kv })
    }

    fn delete(&mut self, delete: &Delete) -> Result<DeleteResult, R> {
        let mut removed = Vec::new();
        read::visit_latest(&self.transition.overlay, &delete.keys, |kv| {
            removed.push(kv);
            ControlFlow::Continue(())
        })?;
        for kv in &removed {
            self.delete_key(kv)?;
            if delete.prev_kv {
                self.returns(kv);
            }
        }
        Ok(DeleteResult {
            deleted: removed.len() as u64,
            prev_kvs: if delete.prev_kv { removed } else { Vec::new() },
        })
    }

    /// Removes a key that is there.
    pub(crate) fn delete_key(&mut self, kv: &KeyValue) -> Result<(), R> {
        let tombstone = wire::KeyValue {
            key: kv.key.clone(),
            mod_revision: self.next.main,
            ..wire::KeyValue::default()
        };
        let current = layout::current_key(&kv.key);
        self.transition.overlay.delete(current);
        self.move_key(&kv.key, kv.lease, 0)?;
        let tombstone = tombstone.encode_to_vec().into();
        self.write_version(&kv.key, tombstone, VersionRecord { removed: true });
        Ok(())
    }

    /// Writes a change into history.
    fn write_version(&mut self, key: &[u8], record: Bytes, version: VersionRecord) {
        let history_key = layout::history_key(self.next);
        let digest = &mut self.transition.state.digest;
        *digest = digest.wrapping_add(fingerprint::pair_fingerprint(&history_key, &record));
        self.transition.overlay.put(history_key, record);
        self.transition
            .overlay
            .put(layout::version_key(key, self.next), version.encode_to_vec().into());
        self.next.sub += 1;
    }
}
