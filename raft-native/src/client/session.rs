//! The sessions of the node, which allow it to repeat writes.
//!
//! If a leader stops responding, the outcome of a write is unknown. In a session, the node can send
//! the write again to the next leader, and the state machine applies it once (dissertation 6.3).
//! The state machine stores a bounded number of sessions. So a node has few sessions, and each one
//! has one write at a time.

use std::sync::{Arc, Mutex, PoisonError};

use raft_kv::Session;

/// The pool of sessions.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions(Arc<Mutex<Pool>>);

#[derive(Debug, Default)]
struct Pool {
    free: Vec<Session>,
    created: usize,
}

/// A session in use. A drop returns it to the pool.
#[derive(Debug)]
pub(crate) struct SessionGuard {
    session: Session,
    sessions: Sessions,
    is_discarded: bool,
}

/// The number of sessions. With more writes at a time, a write has no session.
const SESSIONS_MAX: usize = 512;

impl Sessions {
    /// Returns an unused session with the number of its next write. `applied` is the index of the
    /// last entry that the node has applied.
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
        Some(SessionGuard { session, sessions: self.clone(), is_discarded: false })
    }
}

impl SessionGuard {
    pub(crate) fn session(&self) -> Session {
        self.session
    }

    /// Removes the session, because the state machine has evicted it.
    pub(crate) fn discard(mut self) {
        self.is_discarded = true;
    }
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        let mut pool = self.sessions.0.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_discarded {
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
        let guards: Vec<_> = (0..SESSIONS_MAX).map(|_| sessions.checkout(0).unwrap()).collect();
        let old: Vec<_> = guards.iter().map(|guard| guard.session().client).collect();
        guards.into_iter().for_each(SessionGuard::discard);
        let new = sessions.checkout(77).unwrap().session();
        assert!(!old.contains(&new.client));
        assert_eq!((new.sequence, new.since), (1, 77));
    }

    #[test]
    fn session_count_is_bounded() {
        let sessions = Sessions::default();
        let guards: Vec<_> = (0..SESSIONS_MAX).map(|_| sessions.checkout(0).unwrap()).collect();
        assert!(sessions.checkout(0).is_none());
        drop(guards);
        assert!(sessions.checkout(0).is_some());
    }
}
