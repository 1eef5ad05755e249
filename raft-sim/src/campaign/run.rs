//! A campaign run in progress, and the actions that heal it.

use std::collections::BTreeMap;

use crate::campaign::{adversary, shutdown_removed};
use crate::network::latency::DurationRange;
use crate::timeline::TimedAction;
use crate::world::World;
use crate::world::action::{Action, Request};
use crate::world::view::ProcessView;

/// The number of the longest election timeouts in which a healed cluster must serve a write. Two
/// elections may fail, and a follower may have to be repaired first.
const TIMEOUTS_TO_RECOVER: u64 = 20;

/// The key of the writes that test whether a healed cluster serves requests. The key is part of the
/// golden traces.
pub(super) const PROBE_KEY: &str = concat!("mend", "ed");

/// The world of a campaign run, and the record of all actions.
pub(super) struct CampaignRun {
    pub(super) world: World,
    /// The time of the latest action. Actions of one time are applied together, with no event in
    /// between, as a [`Run`](crate::Run) applies them.
    pub(super) acted_at: Option<u64>,
    pub(super) done: Vec<TimedAction>,
    /// The number of actions of each kind of fault.
    pub(super) faults: BTreeMap<&'static str, u64>,
}

impl CampaignRun {
    pub(super) fn new(world: World) -> Self {
        Self { world, acted_at: None, done: Vec::new(), faults: BTreeMap::new() }
    }

    /// Processes events until `time`, unless an action was applied at that time already.
    pub(super) fn advance(&mut self, time: u64) {
        if self.acted_at < Some(time) {
            self.world.run_until(time);
        }
    }

    /// Applies and records an action. An action that is rejected, such as the crash of a node that
    /// is down, is not recorded.
    pub(super) fn act(&mut self, action: Action) {
        if self.world.act(&action).is_ok() {
            *self.faults.entry(fault_name(&action)).or_default() += 1;
            let at = self.world.now();
            self.acted_at = Some(at);
            self.done.push(TimedAction { at, action });
        }
    }

    /// Shuts down removed servers that would disrupt the others.
    pub(super) fn shut_down_removed(&mut self) {
        for action in shutdown_removed::actions(&self.world) {
            self.act(action);
        }
    }

    /// Processes events until a condition holds. Returns false if it does not hold within
    /// `timeout`.
    pub(super) fn wait_for(&mut self, timeout: u64, condition: impl Fn(&World) -> bool) -> bool {
        let deadline = self.world.now() + timeout;
        while !condition(&self.world) {
            if self.world.next_at().is_none_or(|at| at > deadline) {
                return false;
            }
            self.world.step();
        }
        true
    }

    /// Requests a write at the leader.
    pub(super) fn probe_write(&mut self) {
        let request = Request::Put { key: PROBE_KEY.into(), value: "yes".into() };
        let via = adversary::leader(&self.world).map(|(leader, _)| leader);
        self.act(Action::Request { via, request });
    }
}

/// The time in which a healed cluster must serve a write.
pub(super) fn recovery_timeout(world: &World) -> u64 {
    TIMEOUTS_TO_RECOVER * world.config().cluster.election_timeout.max
        + world.snapshot_transfer_time()
}

/// The text of a violation by a cluster that does not recover in time.
pub(super) fn timeout_text(state: &str) -> String {
    format!(
        "{state}, but no write succeeded within {TIMEOUTS_TO_RECOVER} election timeouts and the transfer time of a snapshot"
    )
}

/// The name of an action in the totals of a campaign.
fn fault_name(action: &Action) -> &'static str {
    match action {
        Action::Crash { .. } => "crash",
        Action::PowerCut => "power cut",
        Action::Restart { .. } => "restart",
        Action::Pause { .. } => "pause",
        Action::Resume { .. } => "resume",
        Action::FireTimer { .. } => "timer fires",
        Action::FailDisk { .. } => "failing disk",
        Action::WipeDisk { .. } | Action::DestroyDisk { .. } => "lost disk",
        Action::CorruptEntry { .. } => "bit rot",
        Action::MisdirectWrite { .. } => "misdirected write",
        Action::FillDisk { .. } => "full disk",
        Action::FreeDisk { .. } => "freed disk",
        Action::SetSyncLatency { .. } => "sync latency",
        Action::SetClock { .. } | Action::JumpClock { .. } => "clock drift",
        Action::CutLink { .. } => "one-way cut",
        Action::Isolate { .. } => "isolate",
        Action::Partition { .. } => "partition",
        Action::HealLink { .. } | Action::Reconnect { .. } | Action::HealNetwork => "heal",
        Action::SetNetwork { .. }
        | Action::SetLatency { .. }
        | Action::SetLoss { .. }
        | Action::HoldMessages
        | Action::ReleaseMessages => "network",
        Action::AlignTimers | Action::SpreadTimers => "timers",
        Action::TakeSnapshot { .. } => "snapshot",
        Action::DropMessage { .. }
        | Action::DuplicateMessage { .. }
        | Action::DeliverMessage { .. }
        | Action::DelayMessage { .. } => "message",
        Action::ChangeMembership { .. } => "membership",
        Action::Transfer { .. } => "transfer",
        Action::Request { .. } | Action::StopClients => "client",
        Action::GoOn => "go on",
    }
}

/// The actions that heal all faults.
pub(super) fn heal_actions(world: &World) -> Vec<Action> {
    let latency = world.config().network.latency;
    let mut actions = vec![
        Action::HealNetwork,
        Action::SetNetwork { latency, loss_per_mille: 0, duplicate_per_mille: 0 },
        Action::StopClients,
    ];
    for node in 1..=world.config().cluster.nodes {
        actions.push(Action::SetSyncLatency { node, sync_latency: DurationRange::new(100, 5_000) });
        if world.is_disk_full(node) {
            actions.push(Action::FreeDisk { node });
        }
        actions.push(Action::SetClock { node, drift: 0 });
        match world.process(node) {
            Some(ProcessView::Down { .. }) => actions.push(Action::Restart { node }),
            Some(ProcessView::Paused) => actions.push(Action::Resume { node }),
            Some(ProcessView::Running) | None => {}
        }
    }
    actions
}
