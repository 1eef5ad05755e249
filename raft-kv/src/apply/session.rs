//! Sessions: a command that reaches the log more than once is carried out once (dissertation, 6.3).
//!
//! The state machine keeps, for each client, the sequence and the outcome of its latest command. A
//! session opens with its first command; it needs no registration of its own.
//!
//! Memory is bounded: at most [`SESSIONS_MAX`] sessions, each with an outcome of at most
//! [`SESSION_OUTCOME_BYTES_MAX`]. When there are too many, the one whose last use lies furthest
//! back in the log is forgotten. The dissertation's danger is then a retry from a forgotten
//! session: taken for a new session, it would be carried out twice. Its answer is a registration
//! entry per session. Ours costs no entry: a command says which log index was already applied when
//! the client made up its identifier (`since`), and the state machine remembers the horizon, the
//! greatest last use of any session it has forgotten. A session's uses all come after its `since`.
//! So if a session that is not recorded has `since >= horizon`, it cannot be among the forgotten,
//! and is new; otherwise it may have been, and the command is refused with a typed outcome. Every
//! replica decides the same, because limits and horizon are part of the replicated state.

use bytes::Bytes;
use prost::Message;

use crate::apply::BatchApply;
use crate::command::{Request, Session};
use crate::entry::EntryId;
use crate::error::StoreFault;
use crate::outcome::Outcome;
use crate::read;
use crate::read::fingerprint;
use crate::store::layout;
use crate::store::{Order, ReadStore};
use crate::wire::{OutcomeMessage, SessionRecord, SessionUse};

/// The number of sessions kept. The same on every replica, so not configurable.
pub const SESSIONS_MAX: u64 = 10_000;

/// The largest encoded outcome that a session keeps. A retry of a command with a larger one is
/// answered with [`Outcome::AlreadyDone`].
pub const SESSION_OUTCOME_BYTES_MAX: usize = 16 * 1024;

type Result<T, R> = core::result::Result<T, StoreFault<<R as ReadStore>::Error>>;

impl<R: ReadStore> BatchApply<'_, R> {
    /// Carries out a request unless its session has seen it.
    pub(crate) fn apply_once(
        &mut self,
        entry: EntryId,
        session: &Session,
        request: &Request,
    ) -> Result<Outcome, R> {
        let index = entry.index;
        let key = layout::session_key(session.client);
        let Some(bytes) = self.overlay.get(&key).map_err(StoreFault::Store)? else {
            if session.since < self.state.session_horizon {
                return Ok(Outcome::SessionUnknown { since: self.state.session_horizon });
            }
            let outcome = self.execute(entry, request)?;
            self.evict_oldest()?;
            self.state.sessions += 1;
            self.write(key, index, session.sequence, (&truncate_for_session(&outcome)).into());
            return Ok(outcome);
        };
        let record: SessionRecord = read::decode(bytes.clone(), "a session does not decode")?;
        if session.sequence < record.sequence {
            return Ok(Outcome::SessionStale { latest: record.sequence });
        }
        if session.sequence == record.sequence {
            let message = record.outcome.ok_or(StoreFault::Damaged("a session has no outcome"))?;
            let outcome = message
                .clone()
                .read()
                .ok_or(StoreFault::Damaged("the outcome of a session does not decode"))?;
            self.erase(&key, &bytes, record.last_used);
            self.write(key, index, record.sequence, message);
            return Ok(outcome);
        }
        let outcome = self.execute(entry, request)?;
        self.erase(&key, &bytes, record.last_used);
        self.write(key, index, session.sequence, (&truncate_for_session(&outcome)).into());
        Ok(outcome)
    }

    fn write(&mut self, key: Bytes, index: u64, sequence: u64, outcome: OutcomeMessage) {
        let usage = SessionUse { client: key.slice(1..) };
        let record: Bytes = SessionRecord { sequence, last_used: index, outcome: Some(outcome) }
            .encode_to_vec()
            .into();
        let digest = &mut self.state.digest;
        *digest = digest.wrapping_add(fingerprint::pair_fingerprint(&key, &record));
        self.overlay.put(key, record);
        self.overlay.put(layout::session_use_key(index), usage.encode_to_vec().into());
    }

    /// Takes a record out of the digest and of the order of uses; the caller replaces or deletes
    /// the record itself.
    fn erase(&mut self, key: &Bytes, record: &Bytes, last_used: u64) {
        let digest = &mut self.state.digest;
        *digest = digest.wrapping_sub(fingerprint::pair_fingerprint(key, record));
        self.overlay.delete(layout::session_use_key(last_used));
    }

    /// Forgets the least recently used session if there are as many as may be.
    fn evict_oldest(&mut self) -> Result<(), R> {
        if self.state.sessions < self.capacity.sessions {
            return Ok(());
        }
        let missing = StoreFault::Damaged("a session is counted but missing");
        // Uses before the horizon are gone, so the scan need not step over them.
        let (from, to) = layout::session_uses_after(self.state.session_horizon);
        let oldest = self.overlay.scan(&from, &to, Order::Ascending).next();
        let Some(oldest) = oldest else {
            return Err(missing);
        };
        let (_, usage) = oldest.map_err(StoreFault::Store)?;
        let usage: SessionUse = read::decode(usage, "the use of a session does not decode")?;
        let key = layout::session_key_of(&usage.client);
        let Some(bytes) = self.overlay.get(&key).map_err(StoreFault::Store)? else {
            return Err(missing);
        };
        let record: SessionRecord = read::decode(bytes.clone(), "a session does not decode")?;
        self.erase(&key, &bytes, record.last_used);
        self.overlay.delete(key);
        self.state.sessions -= 1;
        self.state.session_horizon = record.last_used;
        Ok(())
    }
}

/// What a session keeps of an outcome.
fn truncate_for_session(outcome: &Outcome) -> Outcome {
    match outcome {
        Outcome::Done(response) if outcome.encoded_len() > SESSION_OUTCOME_BYTES_MAX => {
            Outcome::AlreadyDone { revision: response.revision }
        }
        _ => outcome.clone(),
    }
}
