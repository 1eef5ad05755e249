//! Checkers: they observe the cluster and the clients, and never change a run.
//!
//! A checker does not belong into the file of the thing that it checks.

pub(crate) mod auditor;
pub(crate) mod catch_up;
pub mod coverage;
pub(crate) mod history;
pub(crate) mod invariants;
pub(crate) mod kv_model;
pub(crate) mod lease;
pub(crate) mod liveness;
pub(crate) mod reachability;
pub(crate) mod responses;

use crate::check::auditor::Auditor;
use crate::check::catch_up::CatchUp;
use crate::check::coverage::Coverage;
use crate::check::history::History;
use crate::check::invariants::{Invariant, Invariants, Violation};
use crate::check::lease::LeaseChecker;
use crate::check::liveness::{Disturbance, Liveness};
use crate::check::reachability::Reachability;
use crate::check::responses::ResponseChecker;
use crate::workload::config::WorkloadConfig;

/// The result of a check. An error names the violated invariant and the contradiction.
pub(crate) type Checked<T = ()> = Result<T, (Invariant, String)>;

/// Everything that observes a run.
#[derive(Clone, Debug)]
pub(crate) struct Observers {
    pub(crate) invariants: Invariants,
    pub(crate) auditor: Auditor,
    pub(crate) responses: ResponseChecker,
    pub(crate) leases: LeaseChecker,
    pub(crate) history: History,
    pub(crate) liveness: Liveness,
    pub(crate) catch_up: CatchUp,
    pub(crate) coverage: Coverage,
    pub(crate) violations: Violations,
}

/// The first violation, and what happens after it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Violations {
    first: Option<Violation>,
    /// The event log contains the violation.
    is_recorded: bool,
    /// The run continues after violations.
    ignored: bool,
}

impl Observers {
    pub(crate) fn new(workload: &WorkloadConfig, count_coverage: bool) -> Self {
        let clients = workload.watch_clients + workload.lease_clients + workload.txn_clients;
        Self {
            invariants: Invariants::default(),
            auditor: Auditor::new(clients > 0),
            responses: ResponseChecker::default(),
            leases: LeaseChecker::default(),
            history: History::default(),
            liveness: Liveness::default(),
            catch_up: CatchUp::default(),
            coverage: Coverage::new(count_coverage),
            violations: Violations::default(),
        }
    }

    /// Checks the progress of the cluster.
    pub(crate) fn check_progress(&mut self, view: Reachability<'_>) {
        let now = view.cluster().now;
        if self.liveness.is_due(now) {
            let checked = self.liveness.check(view, self.invariants.committed());
            self.violations.note(now, checked);
        }
        if self.catch_up.is_due(now) {
            let checked = self.catch_up.check(view);
            self.violations.note(now, checked);
        }
    }

    /// Considers an action that delays servers. The next check of an idle cluster is at `check_at`.
    pub(crate) fn disturb(&mut self, disturbance: Disturbance, check_at: u64) {
        self.catch_up.disturb(disturbance);
        self.liveness.disturb(disturbance, check_at);
    }
}

impl Violations {
    /// Keeps the first violation.
    pub(crate) fn note(&mut self, at: u64, checked: Checked) {
        if let (None, Err((invariant, text))) = (&self.first, checked) {
            self.first = Some(Violation { invariant, text, at });
        }
    }

    pub(crate) fn first(&self) -> Option<&Violation> {
        self.first.as_ref()
    }

    /// Returns true if a violation ends the run.
    pub(crate) fn has_ended(&self) -> bool {
        self.first.is_some() && !self.ignored
    }

    /// Lets the run continue. Later violations do not end it, because most invariants rely on each
    /// other.
    pub(crate) fn ignore(&mut self) {
        self.ignored = true;
    }

    /// The first violation, unless it was already recorded.
    pub(crate) fn take_unrecorded(&mut self) -> Option<&Violation> {
        let violation = self.first.as_ref().filter(|_| !self.is_recorded)?;
        self.is_recorded = true;
        Some(violation)
    }
}
