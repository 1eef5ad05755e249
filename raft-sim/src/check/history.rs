//! What clients asked for and were answered, as a history that can be judged however long it
//! becomes.

use crate::check::invariants::{Invariant, Violation};
use crate::linearizability::{
    Call, HistoryOperation, Limits, Verdict, check_after, first_violating_prefix,
};
use crate::workload::kv::{Operation, OperationState};
use crate::world::World;
use crate::world::action::Request;

/// A world with a story keeps about this many operations; of earlier ones it keeps a summary.
const OPERATIONS_MAX: usize = 10_000;
/// Every so many requests the world looks whether it keeps more than that.
const REQUESTS_BETWEEN: u64 = 500;
/// How much the summary of the operations that are forgotten at once may take, for each key.
const SUMMARY: Limits = Limits { steps_max: 1_000_000, bytes_max: 16 << 20 };

impl World {
    /// The requests so far, without the early ones of a long run.
    /// [`judge_within`](Self::judge_within) judges all.
    #[must_use]
    pub fn history(&self) -> Vec<HistoryOperation> {
        self.clients.askings.values().map(operation).chain(self.traders.history()).collect()
    }

    /// How many operations [`judge_within`](Self::judge_within) judges.
    #[must_use]
    pub fn operations_judged(&self) -> usize {
        let pending = self.traders.pending().count();
        let kept = self.clients.askings.len() + self.traders.done.len();
        self.clients.forgotten.operations() + kept + pending
    }

    /// Judges all answers that clients got so far. A long run keeps an exact summary of the early
    /// ones. A key for which that would be too large is not judged: the search gives up there.
    #[must_use]
    pub fn judge_within(&self, limits: Limits) -> Verdict {
        check_after(&self.clients.forgotten, &self.history(), limits)
    }

    /// Judges all answers that clients got so far, with at most `steps_max` steps for each key. A
    /// violation happens with the first answer that no order explains.
    #[must_use]
    pub fn judge_history(&self, steps_max: u64) -> Option<Violation> {
        let limits = Limits { steps_max, ..Limits::default() };
        let (at, verdict) = match self.judge_within(limits) {
            Verdict::Linearizable => return None,
            Verdict::GaveUp { key } => (self.now, Verdict::GaveUp { key }),
            Verdict::Violation(found) => {
                let (at, found) = first_violating_prefix(
                    &self.clients.forgotten,
                    &self.history(),
                    found,
                    steps_max,
                );
                (at, Verdict::Violation(found))
            }
        };
        Some(Violation { invariant: Invariant::Linearizability, text: verdict.in_seconds(), at })
    }

    /// Replaces the earlier half of the operations by their summary, if there are too many of them.
    /// `request` is the number of the request that was made last.
    pub(crate) fn forget_finished(&mut self, request: u64) {
        let (askings, done) = (&self.clients.askings, &self.traders.done);
        let kept = askings.len() + done.len();
        let is_due = request.is_multiple_of(REQUESTS_BETWEEN) && kept >= OPERATIONS_MAX;
        if !self.config.record_events || !is_due {
            return;
        }
        let invoked = askings.values().map(|asking| asking.invoked);
        let mut invoked: Vec<_> = invoked.chain(done.iter().map(|it| it.invoked)).collect();
        let (_, middle, _) = invoked.select_nth_unstable(kept / 2);
        // Operations that can still return are kept, and so are those that were invoked later.
        let waiting = askings.values().find(|asking| asking.state == OperationState::Waiting);
        let waiting = waiting.map(|asking| asking.invoked);
        let pending = self.traders.pending().map(|operation| operation.invoked);
        let until = pending.chain(waiting).chain([*middle]).min().unwrap_or_default();
        let is_early = |asking: &&Operation| asking.invoked < until;
        let early: Vec<_> = askings.values().take_while(is_early).map(|it| it.id).collect();
        let mut forgotten = Vec::new();
        for id in early {
            forgotten.extend(self.clients.askings.remove(&id).as_ref().map(operation));
        }
        let done = std::mem::take(&mut self.traders.done);
        let (early, late): (Vec<_>, Vec<_>) = done.into_iter().partition(|it| it.invoked < until);
        self.traders.done = late;
        forgotten.extend(early);
        self.clients.forgotten.extend(forgotten, until, SUMMARY);
    }
}

fn operation(asking: &Operation) -> HistoryOperation {
    let (found, succeeded) = match &asking.state {
        OperationState::Done { found, succeeded } => (found.clone(), *succeeded),
        OperationState::Waiting | OperationState::Unknown => (None, false),
    };
    let call = match asking.request.clone() {
        Request::Put { value, .. } => Call::Put { value },
        Request::Delete { .. } => Call::Delete,
        Request::Get { .. } => Call::Get { found },
        Request::Cas { expected, value, .. } => Call::Cas { expected, value, succeeded },
    };
    HistoryOperation {
        client: asking.client,
        key: asking.request.key().to_owned(),
        call,
        invoked: asking.invoked,
        returned: asking.returned,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::DurationRange;
    use crate::world::action::Action;
    use crate::world::config::WorldConfig;

    /// Five clients for 375 s, as the page shows them.
    #[test]
    fn long_run_is_judged_with_its_first_requests() {
        let config = WorldConfig { seed: 7, clients: 5, ..WorldConfig::default() };
        let mut world = World::new(config).unwrap();
        world.run_until(375_000_000);
        assert_eq!(world.violation(), None);
        assert!(world.asking(1).is_none(), "the first requests are forgotten");
        assert!(world.history().len() <= OPERATIONS_MAX + REQUESTS_BETWEEN as usize);
        let page = Limits { steps_max: 200_000, bytes_max: 16 << 20 };
        assert_eq!(world.judge_within(page), Verdict::Linearizable);
        // A value that was overwritten before the requests that are kept.
        let early = Some("v1".to_owned());
        let read = |asking: &&Operation| matches!(asking.request, Request::Get { .. });
        let last = world.askings().rfind(read).map(|asking| asking.id).unwrap();
        let asking = world.clients.askings.get_mut(&last).unwrap();
        asking.state = OperationState::Done { found: early, succeeded: true };
        asking.returned = Some(world.now);
        assert!(matches!(world.judge_within(page), Verdict::Violation(_)));
    }

    /// Servers come and go, so that clients give up, and traders do what clients do.
    #[test]
    fn long_run_with_faults_is_judged_with_its_first_requests() {
        let config = WorldConfig {
            seed: 11,
            nodes: 3,
            clients: 3,
            txn_clients: 2,
            key_count: 3,
            think_time: DurationRange::new(1_000, 30_000),
            request_timeout: 60_000,
            loss_per_mille: 50,
            ..WorldConfig::default()
        };
        let mut world = World::new(config).unwrap();
        while world.clients.askings.first_key().is_none_or(|first| *first < 8_000) {
            assert_eq!(world.violation(), None);
            assert!(world.now() < 3_600_000_000, "the first requests are kept");
            let node = world.now() / 1_000_000 % 3 + 1;
            world.act(&Action::Isolate { node }).unwrap();
            world.run_until(world.now() + 700_000);
            world.act(&Action::Reconnect { node }).unwrap();
            world.run_until(world.now() + 300_000);
        }
        let lost = |operation: &HistoryOperation| operation.returned.is_none();
        assert!(world.history().iter().any(lost));
        assert_eq!(world.judge_history(500_000), None);
    }
}
