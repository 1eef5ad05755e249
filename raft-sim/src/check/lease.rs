//! The leader's side of leases, and whether leases live as long as their holders were promised.
//!
//! A lease must not expire before its time has passed, by any clock that a leader could have had,
//! since it was granted or since the latest request to keep it alive arrived that was answered. How
//! far a clock can have gone is known: how long it took in the world, how fast the fastest clock
//! was set, and by how much clocks have jumped. And nobody may say that a lease is alive who had
//! been replaced when it was asked.

use std::collections::BTreeMap;
use std::time::Duration;

use raft_core::{Instant, LogIndex, Role, Term};
use raft_kv::{Command, Lease, Lessor, Outcome};

use crate::check::auditor::{Checked, LeaseChange};
use crate::check::invariants::Invariant;
use crate::node::{Node, RequestId, Running};
use crate::story::EventKind;
use crate::util::units::duration;
use crate::workload::kv::ClientResponse;
use crate::world::{World, note};

/// What holders may rely on.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeaseChecker {
    /// From when on each lease, by its number and its entry, has all of its time.
    since: BTreeMap<(i64, u64), ClockBound>,
    /// When leases ended, and whether because they had expired.
    ended: BTreeMap<(i64, u64), (ClockBound, bool)>,
    /// By how much all clocks together have jumped so far.
    jumped: u64,
    /// How much too fast the fastest clock ever was, in parts per million.
    drift_max: u32,
    #[cfg(test)]
    pub(crate) flaw: Option<InjectedBug>,
}

/// What a server could do wrong.
#[cfg(test)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum InjectedBug {
    /// Whoever leads again goes on with the deadlines that it had when it led before.
    KeepsDeadlines,
    /// Leases are kept alive by servers that have not made sure that they lead.
    RenewsUnconfirmed,
    /// Nobody looks for leases whose time is over.
    NeverLooks,
}

/// A moment, and how far clocks had jumped until then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClockBound {
    at: u64,
    jumped: u64,
}

/// A request to keep a lease alive, as it arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeepAlive {
    pub(crate) lease: i64,
    arrived: ClockBound,
    /// The latest term in which anybody led then.
    led: Term,
}

impl LeaseChecker {
    /// A clock runs faster or slower from now on.
    pub(crate) fn clock_set(&mut self, drift: i32) {
        self.drift_max = self.drift_max.max(drift.max(0).cast_unsigned());
    }

    /// A clock has jumped.
    pub(crate) fn clock_jumped(&mut self, by: u64) {
        self.jumped = self.jumped.saturating_add(by);
    }

    fn moment(&self, at: u64) -> ClockBound {
        ClockBound { at, jumped: self.jumped }
    }

    /// Something happened to a lease for the first time on any server.
    fn turn(&mut self, turn: LeaseChange, now: u64) -> Checked<()> {
        match turn {
            LeaseChange::Nothing => Ok(()),
            LeaseChange::Began(lease) => {
                self.since.insert(name(&lease), self.moment(now));
                Ok(())
            }
            LeaseChange::Ended { lease, has_expired } => {
                let ended = self.moment(now);
                self.ended.insert(name(&lease), (ended, has_expired));
                let since = self.since.remove(&name(&lease));
                match since.filter(|_| has_expired) {
                    Some(since) => self.judge(&lease, since, ended),
                    None => Ok(()),
                }
            }
        }
    }

    /// A holder is told that its lease is alive, in answer to a request that arrived at `since`.
    fn promise(&mut self, lease: &Lease, arrived: ClockBound) -> Checked<()> {
        if let Some((ended, has_expired)) = self.ended.get(&name(lease)) {
            if ended.at < arrived.at {
                let text = format!(
                    "lease {} is said to be alive, {} after it ended",
                    lease.id,
                    duration(arrived.at - ended.at)
                );
                return Err((Invariant::LeaseNotExpiredEarly, text));
            }
            return match has_expired {
                true => self.judge(lease, arrived, *ended),
                false => Ok(()),
            };
        }
        if let Some(since) = self.since.get_mut(&name(lease))
            && since.at < arrived.at
        {
            *since = arrived;
        }
        Ok(())
    }

    fn judge(&self, lease: &Lease, since: ClockBound, ended: ClockBound) -> Checked<()> {
        let million = 1_000_000_u128;
        let passed = u128::from(ended.at.saturating_sub(since.at));
        let passed = passed * (million + u128::from(self.drift_max)) / million;
        // A clock shows whole microseconds.
        let passed = passed + u128::from(ended.jumped - since.jumped) + 1;
        if passed >= u128::from(lease.ttl.max(0).cast_unsigned()) * million {
            return Ok(());
        }
        let text = format!(
            "lease {} of {} s expired {} after it was promised all of its time",
            lease.id,
            lease.ttl,
            duration(ended.at.saturating_sub(since.at))
        );
        Err((Invariant::LeaseNotExpiredEarly, text))
    }

    /// How many leases have expired, and how many were ended.
    #[cfg(test)]
    pub(crate) fn ended_by_expiry(&self) -> (usize, usize) {
        let expired = self.ended.values().filter(|(_, expired)| *expired).count();
        (expired, self.ended.len() - expired)
    }

    #[cfg(test)]
    fn has(&self, flaw: InjectedBug) -> bool {
        self.flaw == Some(flaw)
    }

    #[cfg(test)]
    pub(crate) fn renews_unconfirmed(&self) -> bool {
        self.has(InjectedBug::RenewsUnconfirmed)
    }

    #[cfg(not(test))]
    pub(crate) fn renews_unconfirmed(&self) -> bool {
        false
    }

    #[cfg(test)]
    fn keeps_deadlines(&self) -> bool {
        self.has(InjectedBug::KeepsDeadlines)
    }

    #[cfg(not(test))]
    fn keeps_deadlines(&self) -> bool {
        false
    }

    #[cfg(test)]
    fn never_looks(&self) -> bool {
        self.has(InjectedBug::NeverLooks)
    }

    #[cfg(not(test))]
    fn never_looks(&self) -> bool {
        false
    }
}

fn name(lease: &Lease) -> (i64, u64) {
    (lease.id, lease.granted_at)
}

fn local(now: Instant) -> Duration {
    Duration::from_micros(now.0)
}

/// At most so many leases are ended at once.
const AT_ONCE: usize = 16;

impl World {
    /// Something happened to a lease.
    pub(crate) fn record_lease_change(&mut self, node: u64, turn: LeaseChange) {
        let judged = self.promises.turn(turn, self.now);
        note(&mut self.violation, self.now, judged);
        self.story.record(self.now, Some(node), EventKind::Client, || match turn {
            LeaseChange::Nothing => String::new(),
            LeaseChange::Began(lease) => format!("Lease {} begins, for {} s", lease.id, lease.ttl),
            LeaseChange::Ended { lease, has_expired } => match has_expired {
                true => format!("Lease {} has expired; its keys are gone", lease.id),
                false => format!("Lease {} is ended; its keys are gone", lease.id),
            },
        });
    }

    /// Whoever leads has a lessor for its term, which looks for leases that have expired; nobody
    /// else has one.
    pub(crate) fn drive_lessor(&mut self, id: u64) {
        if self.holders.is_empty() {
            return;
        }
        let retry_after = Duration::from_micros(self.config.election_timeout.max);
        let (keeps_deadlines, never_looks) =
            (self.promises.keeps_deadlines(), self.promises.never_looks());
        let mut expired = Vec::new();
        self.with_running(id, |running, now| {
            let Running { raft, kv, lessor, .. } = running;
            let (term, now_here) = (raft.term().0, local(now));
            if raft.role() != Role::Leader || raft.stopped().is_some() {
                if !keeps_deadlines {
                    *lessor = None;
                }
                return;
            }
            let is_mine = |it: &Lessor| it.term() == term || keeps_deadlines;
            if !lessor.as_deref().is_some_and(is_mine) {
                let new = Lessor::new(&kv.view(), term, now_here, retry_after);
                *lessor = new.ok().map(Box::new);
            }
            let Some(lessor) = lessor else { return };
            for mut revoke in lessor.expired(now_here, AT_ONCE) {
                if never_looks {
                    continue;
                }
                if keeps_deadlines {
                    revoke.expiry = revoke.expiry.map(|it| raft_kv::Expiry { term, ..it });
                }
                if raft.propose(Command::new(revoke).encode(), now).is_ok() {
                    expired.push(revoke);
                }
            }
        });
        for revoke in expired {
            self.delay_revoke(revoke);
            let lease = revoke.id;
            self.story.record(self.now, Some(id), EventKind::Client, || {
                format!("n{id} finds that the time of lease {lease} is over")
            });
        }
    }

    /// A server that has a lessor has applied an entry.
    pub(crate) fn observe_for_lessor(&mut self, id: u64, index: LogIndex, outcome: &Outcome) {
        self.with_running(id, |running, now| {
            if let Some(lessor) = &mut running.lessor {
                lessor.observe(index.0, outcome, local(now));
            }
        });
    }

    /// A request to keep a lease alive has arrived now.
    pub(crate) fn keeping(&self, lease: i64) -> KeepAlive {
        KeepAlive { lease, arrived: self.promises.moment(self.now), led: self.latest_term_led() }
    }

    /// The latest term in which somebody has led.
    pub(crate) fn latest_term_led(&self) -> Term {
        self.invariants.latest_term_led()
    }

    /// The read is confirmed, and all before it is applied: the lease may be kept alive, by whoever
    /// led when it began.
    pub(crate) fn confirm_keep_alive(
        &mut self,
        node: u64,
        asked: RequestId,
        term: Term,
        keeping: KeepAlive,
    ) {
        let running = self.node(node).and_then(Node::running);
        let leads = running.is_some_and(|it| {
            it.raft.role() == Role::Leader && it.raft.term() == term && it.lessor.is_some()
        });
        match leads {
            true => self.answer_keep_alive(node, asked, keeping),
            false => self.send_answer(node, asked, ClientResponse::Redirect(None)),
        }
    }

    /// A server that leads, or believes so, keeps a lease alive, and says so.
    pub(crate) fn answer_keep_alive(&mut self, node: u64, asked: RequestId, keeping: KeepAlive) {
        let mut kept = None;
        self.with_running(node, |running, now| {
            if let Some(lessor) = &mut running.lessor {
                let renewed = lessor.renew(keeping.lease, local(now));
                kept = Some((renewed, running.raft.term()));
            }
        });
        let answer = match kept {
            Some((Ok(lease), term)) => {
                let judged = match keeping.led <= term {
                    true => self.promises.promise(&lease, keeping.arrived),
                    false => {
                        let text = format!(
                            "n{node} keeps lease {} alive in term {term}, and somebody led in term {} before it was asked",
                            lease.id, keeping.led
                        );
                        Err((Invariant::LeaseNotExpiredEarly, text))
                    }
                };
                note(&mut self.violation, self.now, judged);
                ClientResponse::Kept(true)
            }
            Some((Err(_), _)) => ClientResponse::Kept(false),
            None => ClientResponse::Redirect(None),
        };
        self.send_answer(node, asked, answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::DurationRange;
    use crate::world::action::Action;
    use crate::world::config::WorldConfig;

    fn new(seed: u64, flaw: Option<InjectedBug>) -> World {
        let config = WorldConfig {
            seed,
            nodes: 3,
            // A leader that is cut off goes on believing that it leads.
            check_quorum: false,
            lease_clients: 3,
            lease_ttl: 1,
            think_time: DurationRange::new(10_000, 100_000),
            snapshot_every: 20,
            record_events: false,
            ..WorldConfig::default()
        };
        let mut world = World::new(config).unwrap();
        world.promises.flaw = flaw;
        world
    }

    fn leader(world: &World) -> Option<u64> {
        let leads = |node: &u64| world.raft(*node).is_some_and(|it| it.role() == Role::Leader);
        (1..=3).filter(leads).max_by_key(|node| world.raft(*node).map(raft_core::Raft::term))
    }

    /// Leaders are cut off, and come back, and lead again; some crash; and clocks are wrong.
    fn troubled(seed: u64, flaw: Option<InjectedBug>) -> World {
        let mut world = new(seed, flaw);
        for node in 1..=3 {
            let drift = [-200_000, 0, 200_000][node as usize - 1];
            world.act(&Action::SetClock { node, drift }).unwrap();
        }
        for round in 1..=12 {
            world.run_until(round * 4_000_000);
            let Some(node) = leader(&world) else { continue };
            if round % 5 == 0 {
                let _ = world.act(&Action::Crash { node });
                world.run_until(world.now() + 300_000);
                let _ = world.act(&Action::Restart { node });
            } else {
                let _ = world.act(&Action::Isolate { node });
                world.run_until(world.now() + 1_800_000);
                let _ = world.act(&Action::Reconnect { node });
                let _ = world.act(&Action::Transfer { to: node });
            }
        }
        world
    }

    #[test]
    fn leases_survive_leader_changes() {
        let mut world = troubled(1, None);
        assert_eq!(world.violation(), None);
        let (expired, ended) = world.promises.ended_by_expiry();
        assert!(expired > 5 && ended > 5, "{expired}, {ended}");
        world.act(&Action::StopClients).unwrap();
        world.run_until(world.now() + 6_000_000);
        assert_eq!(world.violation(), None);
        assert!(!world.ledger.has_leases(), "what nobody keeps alive ends");
    }

    #[test]
    fn stale_deadlines_are_detected() {
        let found = troubled(1, Some(InjectedBug::KeepsDeadlines));
        let found = found.violation().map(|violation| violation.invariant);
        assert_eq!(found, Some(Invariant::LeaseNotExpiredEarly));
    }

    /// The classic: a leader that was replaced goes on keeping leases alive that the next one ends.
    #[test]
    fn keep_alive_by_non_leader_is_detected() {
        let found = (1..40).find_map(|seed| {
            let world = troubled(seed, Some(InjectedBug::RenewsUnconfirmed));
            world.violation().map(|violation| violation.invariant)
        });
        assert_eq!(found, Some(Invariant::LeaseNotExpiredEarly));
    }

    #[test]
    fn unattended_lease_stays() {
        let mut world = new(1, Some(InjectedBug::NeverLooks));
        world.run_until(10_000_000);
        world.act(&Action::StopClients).unwrap();
        world.run_until(60_000_000);
        assert!(world.ledger.has_leases() && world.violation().is_none());
    }

    /// A read that was confirmed in an earlier term says nothing of the one in which the same
    /// server leads again.
    #[test]
    fn keep_alive_is_valid_only_in_its_read_term() {
        let mut world = new(1, None);
        world.run_until(2_000_000);
        let node = leader(&world).unwrap();
        let term = world.raft(node).unwrap().term();
        let (operation, attempt) = (1 << 40, 1);
        let asked = RequestId { operation, attempt };
        let mut answer = |term| {
            let keeping = world.keeping(1_000_000);
            world.confirm_keep_alive(node, asked, term, keeping);
            let letter = world.clients.letters.values().next_back();
            letter.and_then(|letter| letter.answer.clone())
        };
        assert!(matches!(answer(term), Some(ClientResponse::Kept(false))));
        let earlier = Term(term.0 - 1);
        assert!(matches!(answer(earlier), Some(ClientResponse::Redirect(None))));
    }

    /// What is promised depends on the clocks that there are.
    #[test]
    fn expiry_check_uses_fastest_clock_and_jumps() {
        let lease = Lease { id: 1, ttl: 1, granted_at: 3 };
        let ends = |prepare: fn(&mut LeaseChecker), at| {
            let mut promises = LeaseChecker::default();
            promises.turn(LeaseChange::Began(lease), 0).unwrap();
            prepare(&mut promises);
            promises.turn(LeaseChange::Ended { lease, has_expired: true }, at)
        };
        let is_early = |ended: Checked<()>| {
            ended.is_err_and(|(rule, _)| rule == Invariant::LeaseNotExpiredEarly)
        };
        assert_eq!(ends(|_| {}, 1_000_000), Ok(()));
        assert!(is_early(ends(|_| {}, 900_000)));
        assert_eq!(ends(|it| it.clock_set(250_000), 800_000), Ok(()));
        assert!(is_early(ends(|it| it.clock_set(-250_000), 800_000)));
        assert_eq!(ends(|it| it.clock_jumped(400_000), 600_000), Ok(()));
        assert!(is_early(ends(|it| it.clock_jumped(399_000), 600_000)));
    }

    #[test]
    fn keep_alive_after_end_is_detected() {
        let lease = Lease { id: 1, ttl: 1, granted_at: 3 };
        let mut promises = LeaseChecker::default();
        promises.turn(LeaseChange::Began(lease), 0).unwrap();
        let (early, late) = (promises.moment(10), promises.moment(2_000_000));
        promises.promise(&lease, early).unwrap();
        let end = |has_expired| LeaseChange::Ended { lease, has_expired };
        let mut revoked = promises.clone();
        revoked.turn(end(false), 500_000).unwrap();
        assert_eq!(revoked.promise(&lease, early), Ok(()), "it was alive when it was asked for");
        assert!(revoked.promise(&lease, late).is_err());
        promises.turn(end(true), 1_000_010).unwrap();
        assert_eq!(promises.promise(&lease, early), Ok(()));
        let between = promises.moment(500_000);
        assert!(promises.promise(&lease, between).is_err());
        assert!(promises.promise(&lease, late).is_err());
    }
}
