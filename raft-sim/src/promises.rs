//! The leader's side of leases, and whether leases live as long as their holders were promised.
//!
//! A lease must not expire before its time has passed, by any clock that a leader could have had, since it was granted or
//! since the latest request to keep it alive arrived that was answered. How far a clock can have gone is known: how long it
//! took in the world, how fast the fastest clock was set, and by how much clocks have jumped. And nobody may say that a
//! lease is alive who had been replaced when it was asked.

use std::collections::BTreeMap;
use std::time::Duration;

use raft_core::{Instant, LogIndex, Role, Term};
use raft_kv::{Command, Lease, Lessor, Outcome};

use crate::client::Answer;
use crate::invariants::Invariant;
use crate::ledger::{Checked, Turn};
use crate::node::{Asked, Node, Running};
use crate::story::Kind;
use crate::units::duration;
use crate::world::{World, note};

/// What holders may rely on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Promises {
    /// From when on each lease, by its number and its entry, has all of its time.
    since: BTreeMap<(i64, u64), Moment>,
    /// When leases ended, and whether because they had expired.
    ended: BTreeMap<(i64, u64), (Moment, bool)>,
    /// By how much all clocks together have jumped so far.
    jumped: u64,
    /// How much too fast the fastest clock ever was, in parts per million.
    drift_max: u32,
    #[cfg(test)]
    pub(crate) flaw: Option<Flaw>,
}

/// What a server could do wrong.
#[cfg(test)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flaw {
    /// Whoever leads again goes on with the deadlines that it had when it led before.
    KeepsDeadlines,
    /// Leases are kept alive by servers that have not made sure that they lead.
    RenewsUnconfirmed,
    /// Nobody looks for leases whose time is over.
    NeverLooks,
}

/// A moment, and how far clocks had jumped until then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    at: u64,
    jumped: u64,
}

/// A request to keep a lease alive, as it arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keeping {
    pub(crate) lease: i64,
    arrived: Moment,
    /// The latest term in which anybody led then.
    led: Term,
}

impl Promises {
    /// A clock runs faster or slower from now on.
    pub(crate) fn clock_set(&mut self, drift: i32) {
        self.drift_max = self.drift_max.max(drift.max(0).cast_unsigned());
    }

    /// A clock has jumped.
    pub(crate) fn clock_jumped(&mut self, by: u64) {
        self.jumped = self.jumped.saturating_add(by);
    }

    fn moment(&self, at: u64) -> Moment {
        Moment { at, jumped: self.jumped }
    }

    /// Something happened to a lease for the first time on any server.
    fn turn(&mut self, turn: Turn, now: u64) -> Checked<()> {
        match turn {
            Turn::Nothing => Ok(()),
            Turn::Began(lease) => {
                self.since.insert(name(&lease), self.moment(now));
                Ok(())
            }
            Turn::Ended { lease, has_expired } => {
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
    fn promise(&mut self, lease: &Lease, arrived: Moment) -> Checked<()> {
        if let Some((ended, has_expired)) = self.ended.get(&name(lease)) {
            if ended.at < arrived.at {
                let text = format!(
                    "lease {} is said to be alive, {} after it ended",
                    lease.id,
                    duration(arrived.at - ended.at)
                );
                return Err((Invariant::LeaseLife, text));
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

    fn judge(&self, lease: &Lease, since: Moment, ended: Moment) -> Checked<()> {
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
        Err((Invariant::LeaseLife, text))
    }

    /// How many leases have expired, and how many were ended.
    #[cfg(test)]
    pub(crate) fn ended_by_expiry(&self) -> (usize, usize) {
        let expired = self.ended.values().filter(|(_, expired)| *expired).count();
        (expired, self.ended.len() - expired)
    }

    #[cfg(test)]
    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    #[cfg(test)]
    pub(crate) fn renews_unconfirmed(&self) -> bool {
        self.has(Flaw::RenewsUnconfirmed)
    }

    #[cfg(not(test))]
    pub(crate) fn renews_unconfirmed(&self) -> bool {
        false
    }

    #[cfg(test)]
    fn keeps_deadlines(&self) -> bool {
        self.has(Flaw::KeepsDeadlines)
    }

    #[cfg(not(test))]
    fn keeps_deadlines(&self) -> bool {
        false
    }

    #[cfg(test)]
    fn never_looks(&self) -> bool {
        self.has(Flaw::NeverLooks)
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
    pub(crate) fn lease_turns(&mut self, node: u64, turn: Turn) {
        let judged = self.promises.turn(turn, self.now);
        note(&mut self.violation, self.now, judged);
        self.story.tell(self.now, Some(node), Kind::Client, None, || match turn {
            Turn::Nothing => String::new(),
            Turn::Began(lease) => format!("Lease {} begins, for {} s", lease.id, lease.ttl),
            Turn::Ended { lease, has_expired } => match has_expired {
                true => format!("Lease {} has expired; its keys are gone", lease.id),
                false => format!("Lease {} is ended; its keys are gone", lease.id),
            },
        });
    }

    /// Whoever leads has a lessor for its term, which looks for leases that have expired; nobody else has one.
    pub(crate) fn mind_leases(&mut self, id: u64) {
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
            self.delay_revocation(revoke);
            let lease = revoke.id;
            self.story.tell(self.now, Some(id), Kind::Client, None, || {
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
    pub(crate) fn keeping(&self, lease: i64) -> Keeping {
        Keeping { lease, arrived: self.promises.moment(self.now), led: self.latest_term_led() }
    }

    /// The latest term in which somebody has led.
    pub(crate) fn latest_term_led(&self) -> Term {
        self.invariants.latest_term_led()
    }

    /// The read is confirmed, and all before it is applied: the lease may be kept alive, by whoever led when it began.
    pub(crate) fn keep_confirmed(&mut self, node: u64, asked: Asked, term: Term, keeping: Keeping) {
        let running = self.node(node).and_then(Node::running);
        let leads = running.is_some_and(|it| {
            it.raft.role() == Role::Leader && it.raft.term() == term && it.lessor.is_some()
        });
        match leads {
            true => self.keep(node, asked, keeping),
            false => self.send_answer(node, asked, Answer::Redirect(None)),
        }
    }

    /// A server that leads, or believes so, keeps a lease alive, and says so.
    pub(crate) fn keep(&mut self, node: u64, asked: Asked, keeping: Keeping) {
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
                        Err((Invariant::LeaseLife, text))
                    }
                };
                note(&mut self.violation, self.now, judged);
                Answer::Kept(true)
            }
            Some((Err(_), _)) => Answer::Kept(false),
            None => Answer::Redirect(None),
        };
        self.send_answer(node, asked, answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Action;
    use crate::config::WorldConfig;
    use crate::random::Span;

    fn new(seed: u64, flaw: Option<Flaw>) -> World {
        let config = WorldConfig {
            seed,
            nodes: 3,
            // A leader that is cut off goes on believing that it leads.
            check_quorum: false,
            holders: 3,
            lease_ttl: 1,
            think: Span::new(10_000, 100_000),
            snapshot_every: 20,
            story: false,
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
    fn troubled(seed: u64, flaw: Option<Flaw>) -> World {
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
    fn leases_live_as_promised_through_changes_of_leaders() {
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
    fn deadlines_of_an_earlier_reign_are_found() {
        let found = troubled(1, Some(Flaw::KeepsDeadlines));
        let found = found.violation().map(|violation| violation.invariant);
        assert_eq!(found, Some(Invariant::LeaseLife));
    }

    /// The classic: a leader that was replaced goes on keeping leases alive that the next one ends.
    #[test]
    fn a_lease_that_is_kept_alive_by_somebody_who_does_not_lead_is_found() {
        let found = (1..40).find_map(|seed| {
            let world = troubled(seed, Some(Flaw::RenewsUnconfirmed));
            world.violation().map(|violation| violation.invariant)
        });
        assert_eq!(found, Some(Invariant::LeaseLife));
    }

    #[test]
    fn a_lease_that_nobody_looks_at_stays() {
        let mut world = new(1, Some(Flaw::NeverLooks));
        world.run_until(10_000_000);
        world.act(&Action::StopClients).unwrap();
        world.run_until(60_000_000);
        assert!(world.ledger.has_leases() && world.violation().is_none());
    }

    /// A read that was confirmed in an earlier term says nothing of the one in which the same server leads again.
    #[test]
    fn a_lease_is_kept_alive_in_the_term_of_the_read_alone() {
        let mut world = new(1, None);
        world.run_until(2_000_000);
        let node = leader(&world).unwrap();
        let term = world.raft(node).unwrap().term();
        let (operation, attempt) = (1 << 40, 1);
        let asked = Asked { operation, attempt };
        let mut answer = |term| {
            let keeping = world.keeping(1_000_000);
            world.keep_confirmed(node, asked, term, keeping);
            let letter = world.clients.letters.values().next_back();
            letter.and_then(|letter| letter.answer.clone())
        };
        assert!(matches!(answer(term), Some(Answer::Kept(false))));
        let earlier = Term(term.0 - 1);
        assert!(matches!(answer(earlier), Some(Answer::Redirect(None))));
    }

    /// What is promised depends on the clocks that there are.
    #[test]
    fn an_expiry_is_judged_by_the_fastest_clock_and_all_jumps() {
        let lease = Lease { id: 1, ttl: 1, granted_at: 3 };
        let ends = |prepare: fn(&mut Promises), at| {
            let mut promises = Promises::default();
            promises.turn(Turn::Began(lease), 0).unwrap();
            prepare(&mut promises);
            promises.turn(Turn::Ended { lease, has_expired: true }, at)
        };
        let is_early =
            |ended: Checked<()>| ended.is_err_and(|(rule, _)| rule == Invariant::LeaseLife);
        assert_eq!(ends(|_| {}, 1_000_000), Ok(()));
        assert!(is_early(ends(|_| {}, 900_000)));
        assert_eq!(ends(|it| it.clock_set(250_000), 800_000), Ok(()));
        assert!(is_early(ends(|it| it.clock_set(-250_000), 800_000)));
        assert_eq!(ends(|it| it.clock_jumped(400_000), 600_000), Ok(()));
        assert!(is_early(ends(|it| it.clock_jumped(399_000), 600_000)));
    }

    #[test]
    fn what_was_promised_after_an_end_is_found() {
        let lease = Lease { id: 1, ttl: 1, granted_at: 3 };
        let mut promises = Promises::default();
        promises.turn(Turn::Began(lease), 0).unwrap();
        let (early, late) = (promises.moment(10), promises.moment(2_000_000));
        promises.promise(&lease, early).unwrap();
        let end = |has_expired| Turn::Ended { lease, has_expired };
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
