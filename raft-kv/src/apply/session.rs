//! Sessions: a command that the log contains more than once is executed once (dissertation 6.3).
//!
//! The state machine stores, for each client, the sequence number and the outcome of its latest
//! command. The first command of a session opens it, without a registration.
//!
//! There are at most [`SESSIONS_MAX`] sessions, each with an outcome of at most
//! [`SESSION_OUTCOME_BYTES_MAX`]. Above the limit, the least recently used session is evicted. A
//! retry of an evicted session could then be executed twice. The dissertation prevents that by a
//! registration entry per session. This design needs no entry:
//!
//! - Each command contains `since`, a log index that was applied before the session started. All
//!   uses of the session are after this index.
//! - The state machine stores the horizon: the largest index at which an evicted session was used.
//! - An unknown session with `since >= horizon` cannot be evicted, so it is new. Any other unknown
//!   session may be evicted, and its command is rejected with a typed outcome.
//!
//! All replicas decide alike, because limits and horizon are part of the replicated state.

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

/// The maximum number of sessions. All replicas must have the same limit, so it is not
/// configurable.
pub const SESSIONS_MAX: u64 = 10_000;

/// The maximum size of an encoded outcome that a session stores, in bytes. A retry of a command
/// with a larger outcome returns [`Outcome::AlreadyDone`].
pub const SESSION_OUTCOME_BYTES_MAX: usize = 16 * 1024;

type Result<T, R> = core::result::Result<T, StoreFault<<R as ReadStore>::Error>>;

impl<R: ReadStore> BatchApply<'_, R> {
    /// Executes a request, unless its session has executed it.
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
        let record: SessionRecord = read::decode(bytes.clone(), "a session cannot be decoded")?;
        if session.sequence < record.sequence {
            return Ok(Outcome::SessionStale { latest: record.sequence });
        }
        if session.sequence == record.sequence {
            let message = record.outcome.ok_or(StoreFault::Damaged("a session has no outcome"))?;
            let outcome = message
                .clone()
                .read()
                .ok_or(StoreFault::Damaged("the outcome of a session cannot be decoded"))?;
            self.erase(&key, &bytes, record.last_used);
            self.write(key, index, record.sequence, message);
            return Ok(outcome);
        }
        let outcome = self.execute(entry, request)?;
        self.erase(&key, &bytes, record.last_used);
        self.write(key, index, session.sequence, (&truncate_for_session(&outcome)).into());
        Ok(outcome)
    }

    /// Stores the record of a session, and its use at `index`.
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

    /// Removes a record from the digest, and its use. The caller replaces or deletes the record.
    fn erase(&mut self, key: &Bytes, record: &Bytes, last_used: u64) {
        let digest = &mut self.state.digest;
        *digest = digest.wrapping_sub(fingerprint::pair_fingerprint(key, record));
        self.overlay.delete(layout::session_use_key(last_used));
    }

    /// Evicts the least recently used session if the number of sessions has reached the limit.
    fn evict_oldest(&mut self) -> Result<(), R> {
        if self.state.sessions < self.capacity.sessions {
            return Ok(());
        }
        let missing = StoreFault::Damaged("a counted session is missing");
        // There are no uses before the horizon.
        let (from, to) = layout::session_uses_after(self.state.session_horizon);
        let oldest = self.overlay.scan(&from, &to, Order::Ascending).next();
        let Some(oldest) = oldest else {
            return Err(missing);
        };
        let (_, usage) = oldest.map_err(StoreFault::Store)?;
        let usage: SessionUse = read::decode(usage, "the use of a session cannot be decoded")?;
        let key = layout::session_key_of(&usage.client);
        let Some(bytes) = self.overlay.get(&key).map_err(StoreFault::Store)? else {
            return Err(missing);
        };
        let record: SessionRecord = read::decode(bytes.clone(), "a session cannot be decoded")?;
        self.erase(&key, &bytes, record.last_used);
        self.overlay.delete(key);
        self.state.sessions -= 1;
        self.state.session_horizon = record.last_used;
        Ok(())
    }
}

/// The outcome as a session stores it.
fn truncate_for_session(outcome: &Outcome) -> Outcome {
    match outcome {
        Outcome::Done(response) if outcome.encoded_len() > SESSION_OUTCOME_BYTES_MAX => {
            Outcome::AlreadyDone { revision: response.revision }
        }
        _ => outcome.clone(),
    }
}
