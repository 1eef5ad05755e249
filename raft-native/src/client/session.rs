//! Sessions of the node itself, under which it may send a client's write more than once.
//!
//! A write that went to a leader which then fell silent may have been carried out or not. Under a
//! session the node can send it again, to the next leader, and it is carried out once (dissertation
//! 6.3). The state machine remembers a bounded number of sessions, so a node has few, and uses each
//! for one write after the other.

use std::sync::{Arc, Mutex, PoisonError};

use raft_kv::Session;

/// The sessions that are free.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions(Arc<Mutex<Pool>>);

#[derive(Debug, Default)]
struct Pool {
    free: Vec<Session>,
    created: usize,
}

/// A session in use. It returns to the others when it is dropped.
#[derive(Debug)]
pub(crate) struct SessionGuard {
    session: Session,
    sessions: Sessions,
    forgotten: bool,
}

/// Beyond this many writes at once, a write has no session.
const SESSIONS_MAX: usize = 512;

impl Sessions {
    /// A session that nobody uses, ready for its next write. `applied` is the last index that the
    /// node has applied.
    pub(crate) fn checkout(&self, applied: u64) -> Option<SessionGuard> {
        let mut pool = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut session = match pool.free.pop() {
            Some(session) => session,
            None if pool.created < SESSIONS_MAX => {
                pool.created += 1;
                Session { client: rand::random(), sequence: 0, since: applied }
            }
            None => return None,
        };
        session.sequence += 1;
        Some(SessionGuard { session, sessions: self.clone(), forgotten: false })
    }
}

impl SessionGuard {
    pub(crate) fn session(&self) -> Session {
        self.session
    }

    /// The state machine does not remember the session any more. It is not used again.
    pub(crate) fn discard(mut self) {
        self.forgotten = true;
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        let mut pool = self.sessions.0.lock().unwrap_or_else(PoisonError::into_inner);
        if self.forgotten {
            pool.created -= 1;
        } else {
            pool.free.push(self.session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn session_serializes_and_numbers_writes() {
        let sessions = Sessions::default();
        let first = sessions.checkout(7).unwrap();
        let second = sessions.checkout(7).unwrap();
        assert_ne!(first.session().client, second.session().client);
        let client = first.session().client;
        drop(first);
        let again = sessions.checkout(9).unwrap().session();
        assert_eq!((again.client, again.sequence, again.since), (client, 2, 7));
    }

    #[test]
    fn discarded_session_frees_capacity() {
        let sessions = Sessions::default();
        let lent: Vec<_> = (0..SESSIONS_MAX).map(|_| sessions.checkout(0).unwrap()).collect();
        let old: Vec<_> = lent.iter().map(|lent| lent.session().client).collect();
        lent.into_iter().for_each(SessionGuard::discard);
        let new = sessions.checkout(77).unwrap().session();
        assert!(!old.contains(&new.client));
        assert_eq!((new.sequence, new.since), (1, 77));
    }

    #[test]
    fn session_count_is_bounded() {
        let sessions = Sessions::default();
        let lent: Vec<_> = (0..SESSIONS_MAX).map(|_| sessions.checkout(0).unwrap()).collect();
        assert!(sessions.checkout(0).is_none());
        drop(lent);
        assert!(sessions.checkout(0).is_some());
    }
}
