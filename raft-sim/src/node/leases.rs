//! The lessor of a leader: it ends leases whose time is over, and keeps leases alive.

use std::time::Duration;

use raft_core::{Instant, Role, Term};
use raft_kv::{Command, Lease, Lessor, Revoke};

use crate::node::Running;
use crate::node::clock::ClockBound;
use crate::node::injected_bug::InjectedBug;

/// A request to keep a lease alive.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeepAlive {
    pub(crate) lease: i64,
    /// When the request arrived. The server does not use this value; the lease checker does.
    pub(crate) arrived: ClockBound,
    /// The latest term with a leader when the request arrived, for the lease checker.
    pub(crate) latest_term_led: Term,
}

/// The largest number of leases that a leader ends at once.
const EXPIRED_AT_ONCE_MAX: usize = 16;

impl Running {
    /// Starts or stops the lessor with the leadership, and proposes to end expired leases. Returns
    /// the proposed revocations.
    pub(crate) fn drive_lessor(
        &mut self,
        now: Instant,
        retry_after: Duration,
        bug: Option<InjectedBug>,
    ) -> Vec<Revoke> {
        let keeps_deadlines = bug == Some(InjectedBug::KeepsLeaseDeadlines);
        let (term, local) = (self.raft.term().0, local(now));
        if self.raft.role() != Role::Leader || self.raft.stopped().is_some() {
            if !keeps_deadlines {
                self.lessor = None;
            }
            return Vec::new();
        }
        let is_current = |lessor: &Lessor| lessor.term() == term || keeps_deadlines;
        if !self.lessor.as_deref().is_some_and(is_current) {
            let lessor = Lessor::new(&self.kv.view(), term, local, retry_after);
            self.lessor = lessor.ok().map(Box::new);
        }
        let Some(lessor) = &mut self.lessor else {
            return Vec::new();
        };
        let mut proposed = Vec::new();
        for mut revoke in lessor.expired(local, EXPIRED_AT_ONCE_MAX) {
            if bug == Some(InjectedBug::NeverExpiresLeases) {
                continue;
            }
            if keeps_deadlines {
                revoke.expiry = revoke.expiry.map(|expiry| raft_kv::Expiry { term, ..expiry });
            }
            if self.raft.propose(Command::new(revoke).encode(), now).is_ok() {
                proposed.push(revoke);
            }
        }
        proposed
    }

    /// Returns true if this server leads in a term and has a lessor.
    pub(crate) fn may_keep_alive(&self, term: Term) -> bool {
        let raft = &self.raft;
        raft.role() == Role::Leader && raft.term() == term && self.lessor.is_some()
    }

    /// Extends a lease. None if the server has no lessor; an inner none if the lease does not
    /// exist.
    pub(crate) fn keep_alive(&mut self, lease: i64, now: Instant) -> Option<Option<Lease>> {
        let lessor = self.lessor.as_mut()?;
        Some(lessor.renew(lease, local(now)).ok())
    }
}

/// The time of a server's clock as the lessor expects it.
pub(super) fn local(now: Instant) -> Duration {
    Duration::from_micros(now.0)
}
