//! The liveness phase in which all faults are healed.

use std::fmt;

use crate::campaign::adversary;
use crate::campaign::disk_faults::{all_ruined_are_replaced, replace_ruined};
use crate::campaign::run::{CampaignRun, heal_actions, recovery_timeout, timeout_text};
use crate::check::invariants::{Invariant, Violation};
use crate::workload::kv::OperationState;
use crate::world::World;
use crate::world::action::Action;

/// The time in which servers with ruined disks must be replaced, in longest election timeouts: new
/// servers receive the whole state, over links that may be slow.
const TIMEOUTS_TO_REPLACE: u64 = 100;
/// The time in which watch clients must receive all changes, in longest election timeouts. Their
/// servers may have been removed, so that they must find another.
const WATCH_DRAIN_TIMEOUTS: u64 = 40;
/// The time that a leader has, beyond the time to live, to end leases that are not kept alive, in
/// longest election timeouts.
const TIMEOUTS_TO_END: u64 = 3;
/// The time to wait for such a leader, in longest election timeouts. Each new leader restarts the
/// time of every lease. If latencies are about as long as timeouts, there may always be a new
/// leader.
const TIMEOUTS_TO_SETTLE: u64 = 40;
const SECOND: u64 = 1_000_000;

/// Heals all faults, and checks that the cluster recovers in time.
pub(super) fn check_recovery(run: &mut CampaignRun, replaces: bool) -> Option<Violation> {
    for action in heal_actions(&run.world) {
        run.act(action);
    }
    let unmet = check_conditions(run, replaces).err();
    run.world.violation().cloned().or_else(|| {
        unmet.map(|condition| Violation {
            invariant: Invariant::Availability,
            text: condition.to_string(),
            at: run.world.now(),
        })
    })
}

/// A condition of a healed cluster that does not hold in time.
enum Unmet {
    /// A write succeeds.
    Write,
    /// Servers with ruined disks are replaced.
    Replacement,
    /// Leases without keep-alives end.
    LeaseEnd,
    /// Watch clients have received all changes.
    Watches,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let healed = "all faults are healed";
        match self {
            Self::Write => f.write_str(&timeout_text(healed)),
            Self::Replacement => write!(
                f,
                "servers with ruined disks were not replaced within {TIMEOUTS_TO_REPLACE} election timeouts"
            ),
            Self::LeaseEnd => {
                write!(f, "{healed}, but a lease without keep-alives has not ended")
            }
            Self::Watches => write!(
                f,
                "{healed}, but a watch client has not received all changes within {WATCH_DRAIN_TIMEOUTS} election timeouts"
            ),
        }
    }
}

/// Waits for the conditions of a healed cluster, one after the other.
fn check_conditions(run: &mut CampaignRun, replaces: bool) -> Result<(), Unmet> {
    if replaces {
        // Servers detect damage to their disks at the start.
        run.act(Action::PowerCut);
        for node in 1..=run.world.config().cluster.nodes {
            run.act(Action::Restart { node });
        }
    }
    if !is_serving(run) {
        return Err(Unmet::Write);
    }
    if replaces {
        check_replacement(run)?;
    }
    if !leases_end(run) {
        return Err(Unmet::LeaseEnd);
    }
    let timeout = run.world.config().cluster.election_timeout.max;
    let revision = run.world.auditor().revision();
    let has_drained = |world: &World| world.watchers_have_seen(revision);
    if !run.wait_for(WATCH_DRAIN_TIMEOUTS * timeout, has_drained) {
        return Err(Unmet::Watches);
    }
    // The world itself detects a follower that does not catch up in time. With limited bandwidth it
    // does so until the end of the run, which this wait would extend.
    if run.world.config().network.bandwidth == 0 {
        run.wait_for(run.world.catch_up_time(), World::all_have_caught_up);
    }
    Ok(())
}

/// Requests writes until one succeeds. Returns false if none succeeds in time.
fn is_serving(run: &mut CampaignRun) -> bool {
    let deadline = run.world.now() + recovery_timeout(&run.world);
    run.probe_write();
    while run.world.next_at().is_some_and(|at| at <= deadline) {
        run.world.step();
        let latest = run.world.askings().next_back();
        match latest.map(|operation| operation.state.clone()) {
            Some(OperationState::Done { .. }) => {
                // The clients get the time to receive their outstanding responses.
                let timeout = run.world.config().workload.request_timeout;
                run.advance(run.world.now() + 2 * timeout);
                return true;
            }
            // The client gave up before there was a leader.
            Some(OperationState::Unknown) => {
                run.shut_down_removed();
                run.probe_write();
            }
            Some(OperationState::Waiting) | None => {}
        }
    }
    false
}

/// Replaces servers with ruined disks, once per election timeout, and checks that the cluster
/// serves a write afterwards.
fn check_replacement(run: &mut CampaignRun) -> Result<(), Unmet> {
    let timeout = run.world.config().cluster.election_timeout.max;
    let deadline = run.world.now() + TIMEOUTS_TO_REPLACE * timeout;
    while !all_ruined_are_replaced(&run.world) && run.world.now() < deadline {
        if let Some(action) = replace_ruined(&run.world) {
            run.act(action);
        }
        run.advance(run.world.now() + timeout);
        if run.world.violation().is_some() {
            return Ok(());
        }
    }
    if all_ruined_are_replaced(&run.world) && is_serving(run) {
        return Ok(());
    }
    Err(Unmet::Replacement)
}

/// Returns true if leases end when no client keeps them alive and one server leads for long enough.
/// Time without a leader does not count, because the next leader restarts the time of every lease.
fn leases_end(run: &mut CampaignRun) -> bool {
    let config = run.world.config();
    let ttl = config.workload.lease_ttl.saturating_mul(SECOND);
    let timeout = config.cluster.election_timeout.max;
    let deadline = run.world.now() + 2 * ttl + TIMEOUTS_TO_SETTLE * timeout;
    while run.world.auditor().has_leases() && run.world.now() < deadline {
        run.shut_down_removed();
        let leader = adversary::leader(&run.world);
        let is_other =
            |world: &World| !world.auditor().has_leases() || adversary::leader(world) != leader;
        let time = match leader {
            Some(_) => ttl + TIMEOUTS_TO_END * timeout,
            None => deadline - run.world.now(),
        };
        if !run.wait_for(time, is_other) {
            return leader.is_none();
        }
    }
    true
}
