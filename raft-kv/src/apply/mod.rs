//! The execution of committed entries.
//!
//! The changes that an entry makes belong here. Reads belong in `read/`, and the layout of the
//! store in `store/`.

pub(crate) mod lease;
mod revision_writer;
pub(crate) mod session;

use core::ops::ControlFlow;

use bytes::Bytes;
use prost::Message;

use crate::apply::revision_writer::RevisionWriter;
use crate::command::{Command, Compare, Operand, Relation, Request, Txn};
use crate::entry::{Entry, EntryId, Payload};
use crate::error::{ApplyError, StoreFault};
use crate::outcome::{Outcome, Rejection, RequestResult, Response};
use crate::range::KeyValue;
use crate::read;
use crate::read::view;
use crate::store::layout;
use crate::store::overlay::Overlay;
use crate::store::{Batch, ReadStore};
use crate::validate::{Malformed, check_structure};
use crate::wire::{
    ANSWER_BOUND_SINCE, COMMAND_VERSION, DecodeError, FORMAT_VERSION, KEYS_BOUND_SINCE, StateRecord,
};

type Result<T, R> = core::result::Result<T, StoreFault<<R as ReadStore>::Error>>;

/// A batch of entries that is being applied. The store is unchanged until the batch is committed,
/// so an error needs no rollback.
pub(crate) struct BatchApply<'a, R> {
    /// The store with the changes of the batch.
    pub(crate) overlay: Overlay<'a, R>,
    /// The counters after the entries so far.
    pub(crate) state: StateRecord,
    pub(crate) capacity: Capacity,
    /// The maximum number of keys per lease for the current entry; `None` if its command is of a
    /// version without that limit.
    lease_keys_max: Option<u64>,
    /// The maximum size of the response to the current entry, in bytes; `u64::MAX` if its command
    /// is of a version without that limit.
    answer_bytes_max: u64,
}

/// The limits of the replicated state. They are constants, except in tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Capacity {
    /// The maximum number of sessions.
    pub(crate) sessions: u64,
    /// The maximum number of leases.
    pub(crate) leases: u64,
    /// The maximum number of keys per lease.
    pub(crate) lease_keys: u64,
    /// The maximum size of a response, in bytes.
    pub(crate) answer_bytes: u64,
}

impl<'a, R: ReadStore> BatchApply<'a, R> {
    /// A batch without entries.
    pub(crate) fn new(store: &'a R, state: StateRecord, capacity: Capacity) -> Self {
        let overlay = Overlay::new(store);
        Self { overlay, state, capacity, lease_keys_max: None, answer_bytes_max: u64::MAX }
    }

    /// Returns the counters after the batch, and the writes, which include the counters.
    pub(crate) fn finish(mut self) -> (StateRecord, Batch) {
        let state = self.state.encode_to_vec().into();
        self.overlay.put(Bytes::from_static(layout::STATE_KEY), state);
        (self.state, self.overlay.into_batch())
    }

    /// Applies the next entry.
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
                    self.set_limits(version);
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

    /// Sets the limits of a command by its version.
    fn set_limits(&mut self, version: u32) {
        let limits_keys = version >= KEYS_BOUND_SINCE;
        self.lease_keys_max = limits_keys.then_some(self.capacity.lease_keys);
        let limits_answer = version >= ANSWER_BOUND_SINCE;
        self.answer_bytes_max = if limits_answer { self.capacity.answer_bytes } else { u64::MAX };
    }

    fn command(&mut self, entry: EntryId, command: &Command) -> Result<Outcome, R> {
        if command.version() > 1 && self.state.format != FORMAT_VERSION {
            self.state.format = FORMAT_VERSION;
            self.overlay
                .put(Bytes::from_static(layout::FORMAT_KEY), view::format_record(FORMAT_VERSION));
        }
        // This check depends on the command alone, so a retry is rejected without a session record.
        if let Err(malformed) = check_structure(&command.request) {
            return Ok(Outcome::Rejected(Rejection::Malformed(malformed)));
        }
        match &command.session {
            None => self.execute(entry, &command.request),
            Some(session) => self.apply_once(entry, session, &command.request),
        }
    }

    /// Executes a request. A rejected request changes nothing.
    pub(crate) fn execute(&mut self, entry: EntryId, request: &Request) -> Result<Outcome, R> {
        if !request.returns_pairs() {
            return self.execute_unguarded(entry, request);
        }
        // The size of the response is known only after the execution.
        let state = self.state;
        self.overlay.set_savepoint();
        let outcome = self.execute_unguarded(entry, request)?;
        if matches!(outcome, Outcome::Rejected(_)) {
            self.overlay.roll_back();
            self.state = state;
        } else {
            self.overlay.release_savepoint();
        }
        Ok(outcome)
    }

    /// Executes a request. If its response is too large, the changes must be rolled back.
    fn execute_unguarded(&mut self, entry: EntryId, request: &Request) -> Result<Outcome, R> {
        let revision = self.state.revision;
        let next =
            revision.checked_add(1).ok_or(StoreFault::Damaged("the revision is too large"))?;
        let mut changes = RevisionWriter::new(self, next);
        let result = match request {
            Request::Put(put) => match changes.rejection_of_puts(&[put], &[])? {
                None => Ok(RequestResult::Put(changes.put(put)?)),
                Some(rejection) => Err(rejection),
            },
            Request::Delete(delete) => Ok(RequestResult::Delete(changes.delete(delete)?)),
            Request::Txn(txn) => changes.txn(txn)?.map(RequestResult::Txn),
            Request::Grant(grant) => {
                let granted = changes.batch.grant(entry.index, grant)?;
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

    /// Returns true if all comparisons of a transaction hold.
    fn all_compare(&self, txn: &Txn) -> Result<bool, R> {
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
    /// Returns true if the comparison holds for a range without keys.
    fn holds_for_absent(&self) -> bool {
        match self.operand {
            Operand::Version(number)
            | Operand::CreateRevision(number)
            | Operand::ModRevision(number)
            | Operand::Lease(number) => self.relation.holds(&0, &number),
            Operand::Value(_) => false,
        }
    }

    /// Returns true if the comparison holds for a key.
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
