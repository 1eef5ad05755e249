//! The liveness checker: an entry is committed while a server could lead.
//!
//! Pre-vote and check-quorum together guarantee progress in this situation: an electable server and
//! a quorum reach each other in both directions, and no log of the quorum is more up-to-date. If
//! the leader reaches a quorum, it can commit. Otherwise it steps down, its followers stop ignoring
//! candidates, and the electable server or an equivalent one is elected.
//!
//! Without pre-vote, a server at the edge could depose every leader. Without check-quorum, a leader
//! without a quorum could keep its followers forever. A connected server whose log is behind
//! guarantees nothing: it may not be electable, and the electable servers are not connected (see
//! the scenario `constrained-election`).
//!
//! The same links must work all the time. If the quorum changes all the time, no server is elected.

use raft_core::Role;

use crate::check::Checked;
use crate::check::invariants::Invariant;
use crate::check::reachability::{Reachability, Reached, bit, is_electable};
use crate::node::Node;

/// The longest time without a commit in the current situation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Liveness {
    /// The time of the next check. Checks are rare while entries are committed.
    check_at: u64,
    /// The number of committed entries at the latest check.
    committed: usize,
    /// Since when the links of `reached` have worked.
    since: u64,
    /// The longest round trip with a write since then.
    round_trip: u64,
    /// For each server, the servers that it has reached all the time. Empty if an entry was
    /// committed after the latest check.
    reached: Reached,
}

/// The servers whose progress an action delays.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Disturbance {
    /// The action delays no server, or the checker sees its effect on the links.
    None,
    /// The action delays one server. The other servers can make progress without it, unless it
    /// leads.
    One(u64),
    /// The action delays all servers.
    All,
}

/// The number of longest election timeouts without a commit: one until the followers campaign, and
/// some with split votes.
const TIMEOUTS: u64 = 4;
/// The number of additional round trips. Three elections take about as many, which matters if
/// messages are as slow as possible.
const ROUND_TRIPS: u64 = 8;

impl Liveness {
    /// Returns true if it is time for a check.
    pub(crate) fn is_due(&self, now: u64) -> bool {
        now >= self.check_at
    }

    /// Checks that an entry was committed recently, if this can be expected. `committed` is the
    /// number of committed entries.
    pub(crate) fn check(&mut self, view: Reachability<'_>, committed: usize) -> Checked {
        let (now, config) = (view.cluster().now, view.config());
        if !config.pre_vote || !config.check_quorum {
            return Ok(());
        }
        let nodes = &view.cluster().nodes;
        if committed != self.committed || nodes.iter().any(is_idle_leader) {
            self.committed = committed;
            self.restart(now + config.election_timeout.max);
            return Ok(());
        }
        let (reached, round_trip) = view.reached();
        if self.reached.is_empty() {
            (self.since, self.round_trip, self.reached) = (now, round_trip, reached);
        } else {
            self.round_trip = self.round_trip.max(round_trip);
            for (always, reached) in self.reached.iter_mut().zip(&reached) {
                *always &= reached;
            }
            if !nodes.iter().any(|node| is_electable(node, &self.reached)) {
                (self.since, self.round_trip, self.reached) = (now, round_trip, reached);
            }
        }
        let electable = nodes.iter().find(|node| is_electable(node, &self.reached));
        let time_max = TIMEOUTS * config.election_timeout.max + ROUND_TRIPS * self.round_trip;
        match electable {
            Some(node) if now - self.since >= time_max => {
                let text = format!(
                    "no entry was committed for {TIMEOUTS} election timeouts and {ROUND_TRIPS} round trips although n{} was electable and connected to a quorum",
                    node.id
                );
                Err((Invariant::Progress, text))
            }
            _ => Ok(()),
        }
    }

    /// Considers an action that delays servers. The next check after a restart is at `check_at`.
    pub(crate) fn disturb(&mut self, disturbance: Disturbance, check_at: u64) {
        match disturbance {
            Disturbance::None => {}
            Disturbance::One(node) => {
                for (id, reached) in (1..).zip(&mut self.reached) {
                    *reached &= if id == node { 0 } else { !bit(node) };
                }
            }
            Disturbance::All => self.restart(check_at),
        }
    }

    fn restart(&mut self, check_at: u64) {
        self.check_at = check_at;
        self.reached.clear();
    }
}

/// Returns true for a leader that has committed its whole log. No client waits for it.
fn is_idle_leader(node: &Node) -> bool {
    node.awake().is_some_and(|running| {
        let raft = &running.raft;
        raft.role() == Role::Leader
            && raft.commit_index() == raft.last_log().index
            && raft.last_log().term == raft.term()
    })
}
