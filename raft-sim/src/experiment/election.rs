//! How long a cluster is without a leader after its leader has failed.

use std::fmt;

use raft_core::Role;

use crate::experiment::distribution::Distribution;
use crate::util::rng::{DurationRange, SimRng};
use crate::world::World;
use crate::world::action::{Action, Request};
use crate::world::config::{TIME_MAX, WorldConfig, WorldError};

/// One kind of election, to be held many times. Times are in microseconds.
///
/// In each trial the servers have a leader, whose heartbeat sets every election timer at the same
/// moment. The leader fails a while after that (`crash_after`), and the time is measured from its
/// failure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Election {
    /// Servers in the cluster, the leader that fails included.
    pub servers: u64,
    /// Servers that have failed before, besides the leader.
    pub failed: u64,
    /// Whether the leader's process starts again at once, as a follower.
    ///
    /// The dissertation's availability simulation begins with this moment: all servers that have
    /// not failed before, the old leader too, wait for their election timeouts. Its figures cannot
    /// be had otherwise: with four of five servers left the mean is 468 ms, and not 430.
    pub leader_returns: bool,
    /// The logs of the servers that are left.
    pub logs: Logs,
    /// One-way message latency.
    pub latency: DurationRange,
    /// Election timeouts.
    pub timeout: DurationRange,
    /// How long a write takes until it is durable.
    pub disk: DurationRange,
    /// How long after the last heartbeat the leader fails.
    pub crash_after: DurationRange,
    /// When the election is over.
    pub until: Until,
    /// How many terms ahead of the leader's the last servers are: they have stood for election,
    /// alone. One number a server, the last server's last.
    pub terms_ahead: Vec<u64>,
    /// Links whose latency is not that of the others: sender, receiver, and one-way latency.
    pub links: Vec<(u64, u64, DurationRange)>,
    /// Messages lost, of a thousand.
    pub loss_per_mille: u32,
    /// Each server's clock is fast or slow by up to so many parts in a million.
    pub drift_ppm: u32,
    /// See [`raft_core::Config::pre_vote`]. Published figures are without.
    pub pre_vote: bool,
    /// See [`raft_core::Config::check_quorum`].
    pub check_quorum: bool,
}

/// The logs of the servers that are left when the leader has failed. A server votes for no
/// candidate whose log is shorter than its own (§5.4.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Logs {
    /// All are equal.
    Same,
    /// So many servers lack the last entry, and the rest have it. Whether they can win depends
    /// on whether those who lack it are a majority of the cluster; if not, they cannot.
    Behind(u64),
    /// Each is one entry shorter than another server's.
    AllDifferent,
    /// So many entries in each, one number a server.
    Lengths(Vec<u64>),
}

/// When an election is over.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// A server knows that it has been elected.
    Elected,
    /// All other live servers have heard of the new leader.
    Heard,
}

/// Why an election cannot be held.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ElectionError {
    /// Those that are left are no majority: they can elect nobody.
    NoMajority {
        /// Servers left.
        left: u64,
        /// Servers needed.
        needed: u64,
    },
    /// `Lengths` must have one number for each server that is left, `Behind` no more servers than
    /// that.
    Logs {
        /// Servers left.
        left: u64,
    },
    /// Only servers that are left, and that have not led, can be ahead. They have no pre-vote,
    /// which would keep them from it.
    TermsAhead,
    /// There is no such link.
    NoSuchLink(u64, u64),
    /// The named range ends before it begins.
    EmptyRange(&'static str),
    /// The servers refuse the configuration.
    World(WorldError),
    /// After so many election timeouts there was no leader.
    NoLeader {
        /// The seed of the trial.
        seed: u64,
        /// Election timeouts.
        timeouts: u64,
    },
    /// A rule of Raft was broken.
    Violation(String),
}

/// After so many of the longest timeouts an election is given up. Even timeouts that differ by 1 ms
/// at 15 ms of latency need a tenth of it.
const TIMEOUTS_MAX: u64 = 10_000;

impl Election {
    /// The availability simulation of the dissertation's chapter 9: five servers in a wide area
    /// network with 30 to 40 ms of latency, timeouts of 300 to 600 ms, no disks, identical logs.
    #[must_use]
    pub fn wan() -> Self {
        Self {
            servers: 5,
            failed: 0,
            leader_returns: true,
            logs: Logs::Same,
            latency: DurationRange::new(30_000, 40_000),
            timeout: DurationRange::new(300_000, 600_000),
            disk: DurationRange::new(0, 0),
            crash_after: DurationRange::new(0, 0),
            until: Until::Elected,
            terms_ahead: Vec::new(),
            links: Vec::new(),
            loss_per_mille: 0,
            drift_ppm: 0,
            pre_vote: false,
            check_quorum: false,
        }
    }

    /// Holds so many elections. The same seed gives the same times.
    ///
    /// # Errors
    ///
    /// [`ElectionError`], if there can be no election of this kind, or one went wrong.
    pub fn run_elections(&self, trials: usize, seed: u64) -> Result<Vec<u64>, ElectionError> {
        let lengths = self.log_lengths()?;
        let mut random = SimRng::new(seed);
        (0..trials).map(|_| self.trial(&lengths, random.next())).collect()
    }

    /// The same, as a distribution.
    ///
    /// # Errors
    ///
    /// As [`run_elections`](Self::run_elections).
    pub fn measure(&self, trials: usize, seed: u64) -> Result<Distribution, ElectionError> {
        let times = self.run_elections(trials.max(1), seed)?;
        Distribution::new(times).ok_or(ElectionError::NoLeader { seed, timeouts: 0 })
    }

    /// How many entries each of the servers that are left has beyond those of the shortest log.
    /// Which server has which does not matter, as all are alike otherwise.
    fn log_lengths(&self) -> Result<Vec<u64>, ElectionError> {
        let gone = self.failed.saturating_add(u64::from(!self.leader_returns));
        let left = self.servers.saturating_sub(gone);
        let needed = self.servers / 2 + 1;
        if left < needed {
            return Err(ElectionError::NoMajority { left, needed });
        }
        let spans =
            [("latency", self.latency), ("disk", self.disk), ("crash_after", self.crash_after)];
        if let Some((name, _)) = spans.iter().find(|(_, span)| span.min > span.max) {
            return Err(ElectionError::EmptyRange(name));
        }
        let ahead = self.terms_ahead.len() as u64;
        if ahead > left - u64::from(self.leader_returns) || ahead > 0 && self.pre_vote {
            return Err(ElectionError::TermsAhead);
        }
        let servers = 1..=self.servers;
        for (from, to, span) in &self.links {
            if from == to || !servers.contains(from) || !servers.contains(to) {
                return Err(ElectionError::NoSuchLink(*from, *to));
            }
            if span.min > span.max {
                return Err(ElectionError::EmptyRange("links"));
            }
        }
        let mut lengths: Vec<u64> = match &self.logs {
            Logs::Same => vec![0; left as usize],
            Logs::Behind(behind) if *behind < left => {
                (0..left).map(|server| u64::from(server >= *behind)).collect()
            }
            Logs::AllDifferent => (0..left).collect(),
            Logs::Lengths(lengths) if lengths.len() as u64 == left => {
                let shortest = lengths.iter().min().copied().unwrap_or(0);
                lengths.iter().map(|length| length - shortest).collect()
            }
            Logs::Behind(_) | Logs::Lengths(_) => return Err(ElectionError::Logs { left }),
        };
        // The leader has the longest log, and is the first of those that are left if it returns.
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        Ok(lengths)
    }

    /// The servers that are left.
    fn remaining(&self) -> std::ops::RangeInclusive<u64> {
        let first = if self.leader_returns { 1 } else { 2 };
        first..=self.servers - self.failed
    }

    fn trial(&self, lengths: &[u64], seed: u64) -> Result<u64, ElectionError> {
        let mut world = self.without_a_leader(lengths, seed)?;
        let crashed_at = SimRng::new(!seed).sample(self.crash_after);
        let limit = self.timeout.max.saturating_mul(TIMEOUTS_MAX);
        while world.now() <= limit && world.step() {
            if self.is_over(&world) {
                return Ok(world.now().saturating_sub(crashed_at));
            }
        }
        Err(match world.violation() {
            Some(violation) => ElectionError::Violation(violation.to_string()),
            None => ElectionError::NoLeader { seed, timeouts: TIMEOUTS_MAX },
        })
    }

    /// A world whose leader, server 1, falls silent at time zero, when all have just heard of it.
    /// All that it takes to get there happens in no time.
    ///
    /// The leader's process ends here even if it is to fail later: it would say nothing in
    /// between, unless `crash_after` reached beyond its next heartbeat.
    fn without_a_leader(&self, lengths: &[u64], seed: u64) -> Result<World, ElectionError> {
        let mut world = World::new(WorldConfig {
            nodes: self.servers,
            seed,
            election_timeout: self.timeout,
            heartbeat_interval: (self.timeout.min / 2).max(1),
            pre_vote: self.pre_vote,
            check_quorum: self.check_quorum,
            latency: DurationRange::new(0, 0),
            sync_latency: DurationRange::new(0, 0),
            // A client that is not answered does not ask again while the election lasts.
            request_timeout: TIME_MAX,
            record_events: false,
            ..WorldConfig::default()
        })
        .map_err(ElectionError::World)?;
        let act = |world: &mut World, action: Action| {
            let done = world.act(&action);
            debug_assert_eq!(done, Ok(()), "the servers are there and run");
            world.run_until(0);
        };
        act(&mut world, Action::FireTimer { node: 1 });
        for node in self.servers - self.failed + 1..=self.servers {
            act(&mut world, Action::Crash { node });
        }
        let longest = lengths.iter().max().copied().unwrap_or(0);
        for length in 1..=longest {
            for (node, _) in self.remaining().zip(lengths).filter(|(_, has)| **has < length) {
                act(&mut world, Action::Isolate { node });
            }
            let request = Request::Put { key: "x".into(), value: length.to_string() };
            let via = Some(1);
            act(&mut world, Action::Request { via, request });
        }
        self.force_candidates(&mut world);
        act(&mut world, Action::Crash { node: 1 });
        act(&mut world, Action::HealNetwork);
        if self.leader_returns {
            act(&mut world, Action::Restart { node: 1 });
        }
        let latency = self.latency;
        act(
            &mut world,
            Action::SetNetwork {
                latency,
                loss_per_mille: self.loss_per_mille,
                duplicate_per_mille: 0,
            },
        );
        for (from, to, latency) in self.links.iter().copied() {
            act(&mut world, Action::SetLatency { from, to, latency });
        }
        let mut random = SimRng::new(seed ^ 0xd21f7);
        for node in 1..=self.servers {
            let drift = random.within(0..=2 * u64::from(self.drift_ppm)) as i32;
            let drift = drift - self.drift_ppm as i32;
            if drift != 0 {
                act(&mut world, Action::SetClock { node, drift });
            }
        }
        for node in self.remaining() {
            let sync = self.disk;
            act(&mut world, Action::SetSyncLatency { node, sync_latency: sync });
        }
        Ok(world)
    }

    /// Lets the servers that are to be ahead stand for election where nobody hears them.
    fn force_candidates(&self, world: &mut World) {
        let mut act = |action| {
            let done = world.act(&action);
            debug_assert_eq!(done, Ok(()), "the servers are there and run");
            world.run_until(0);
        };
        for (node, ahead) in self.remaining().rev().zip(self.terms_ahead.iter().rev()) {
            if *ahead > 0 {
                act(Action::Isolate { node });
                (0..*ahead).for_each(|_| act(Action::FireTimer { node }));
                // It waits for an election timeout like all others.
                act(Action::Crash { node });
                act(Action::Restart { node });
            }
        }
    }

    fn is_over(&self, world: &World) -> bool {
        let mut servers = self.remaining().filter_map(|node| world.raft(node));
        match self.until {
            Until::Elected => servers.any(|server| server.role() == Role::Leader),
            Until::Heard => {
                let mut leaders = servers.map(raft_core::Raft::leader);
                let first = leaders.next().flatten();
                first.is_some() && leaders.all(|leader| leader == first)
            }
        }
    }
}

impl fmt::Display for ElectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMajority { left, needed } => write!(
                f,
                "{left} servers are left, and {needed} votes are needed: nobody can be elected"
            ),
            Self::Logs { left } => write!(
                f,
                "{left} servers are left: give so many log lengths, or let fewer be behind"
            ),
            Self::TermsAhead => f.write_str(
                "only servers that are left, have not led and have no pre-vote can be ahead in terms",
            ),
            Self::NoSuchLink(from, to) => write!(f, "there is no link from {from} to {to}"),
            Self::EmptyRange(name) => write!(f, "{name}: the range ends before it begins"),
            Self::World(error) => error.fmt(f),
            Self::NoLeader { seed, timeouts } => write!(
                f,
                "no leader after {timeouts} election timeouts (trial seed {seed})"
            ),
            Self::Violation(violation) => f.write_str(violation),
        }
    }
}

impl std::error::Error for ElectionError {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::closed_form;

    /// The figure's row for five servers of which no other has failed, in milliseconds.
    const PUBLISHED: [(f64, f64); 7] = [
        (0.01, 368.1),
        (0.10, 375.4),
        (0.25, 386.5),
        (0.50, 409.5),
        (0.75, 445.7),
        (0.90, 489.2),
        (0.95, 525.5),
    ];
    const PUBLISHED_MEAN: f64 = 430.0;

    fn assert_close(found: f64, published: f64, percent: f64, what: &str) {
        let off = (found / published - 1.0).abs() * 100.0;
        assert!(off <= percent, "{what}: {found} instead of {published}");
    }

    #[test]
    fn election_times_match_dissertation() {
        let times = Election::wan().measure(10_000, 1).unwrap();
        assert_close(times.mean(), PUBLISHED_MEAN, 1.0, "mean");
        for (p, published) in PUBLISHED {
            let found = times.quantile(p);
            assert_close(found, published, 2.0, &format!("p{}", p * 100.0));
        }
    }

    /// Without latency nothing is split, and the first timeout decides (section 9.3).
    #[test]
    fn zero_latency_election_time_is_earliest_timeout() {
        let mut election = Election::wan();
        election.latency = DurationRange::new(0, 0);
        let times = election.measure(4000, 7).unwrap();
        let expected = 300.0 + 300.0 * closed_form::earliest_timeout_mean(5);
        assert_close(times.mean(), expected, 1.0, "mean");
        for time in [310.0, 350.0, 450.0] {
            let share = closed_form::earliest_timeout_until(5, (time - 300.0) / 300.0);
            assert!((times.share_until(time) - share).abs() < 0.03);
        }
    }

    #[test]
    fn smaller_clusters_and_shorter_logs_elect_slower() {
        let mean = |change: fn(&mut Election)| {
            let mut election = Election::wan();
            change(&mut election);
            election.measure(2000, 3).unwrap().mean()
        };
        let plain = mean(|_| {});
        assert!(mean(|election| election.failed = 1) > plain * 1.03);
        assert!(mean(|election| election.logs = Logs::Behind(2)) > plain * 1.05);
        assert!(mean(|election| election.logs = Logs::AllDifferent) > plain * 1.05);
        assert!(mean(|election| election.pre_vote = true) > plain + 40.0);
        assert!(mean(|election| election.until = Until::Heard) > plain + 30.0);
        assert!(mean(|election| election.disk = DurationRange::new(10_000, 10_000)) > plain + 15.0);
    }

    #[test]
    fn terms_links_loss_and_clocks_affect_elections() {
        let mean = |change: fn(&mut Election)| {
            let mut election = Election::wan();
            change(&mut election);
            election.measure(400, 3).unwrap().mean()
        };
        let plain = mean(|_| {});
        // A candidate that is told of a later term loses, though a majority would vote for it.
        assert!(mean(|election| election.terms_ahead = vec![10]) > plain * 1.05);
        assert!(mean(|election| election.terms_ahead = vec![10, 20, 30, 40]) > plain * 1.08);
        assert!(mean(|election| election.loss_per_mille = 500) > plain * 1.5);
        let drifting = mean(|election| election.drift_ppm = 500_000);
        assert!((plain * 0.5..plain * 0.95).contains(&drifting), "the fastest clock decides");
        let slow_way = |election: &mut Election| {
            let others = (2..=5).flat_map(|node| [(1, node), (node, 1)]);
            let latency = DurationRange::new(200_000, 200_000);
            election.links = others.map(|(from, to)| (from, to, latency)).collect();
        };
        assert!(mean(slow_way) > plain * 1.02);
    }

    /// Who lacks an entry that a majority has cannot win.
    #[test]
    fn stale_server_is_not_elected() {
        let mut election = Election::wan();
        election.leader_returns = false;
        election.logs = Logs::Lengths(vec![5, 9, 9, 5]);
        let lengths = election.log_lengths().unwrap();
        assert_eq!(lengths, [4, 4, 0, 0]);
        for seed in 0..200 {
            let mut world = election.without_a_leader(&lengths, seed).unwrap();
            let length = |world: &World, node| world.raft(node).unwrap().last_log().index.0;
            assert_eq!([2, 3, 4, 5].map(|node| length(&world, node)), [5, 5, 1, 1]);
            assert!(world.raft(1).is_none());
            while !election.is_over(&world) {
                assert!(world.step());
            }
            let elected = (2..=5).find(|node| world.raft(*node).unwrap().role() == Role::Leader);
            assert!(elected == Some(2) || elected == Some(3), "{elected:?}");
        }
    }

    #[test]
    fn impossible_election_is_rejected() {
        let refused = |change: fn(&mut Election)| {
            let mut election = Election::wan();
            change(&mut election);
            election.run_elections(1, 1).unwrap_err()
        };
        let no_majority = refused(|election| election.failed = 3);
        assert_eq!(no_majority, ElectionError::NoMajority { left: 2, needed: 3 });
        let ahead = refused(|election| election.terms_ahead = vec![1; 5]);
        assert_eq!(ahead, ElectionError::TermsAhead);
        assert_eq!(
            refused(|election| election.links = vec![(1, 9, DurationRange::new(0, 0))]),
            ElectionError::NoSuchLink(1, 9)
        );
        assert!(matches!(
            refused(|election| election.failed = u64::MAX),
            ElectionError::NoMajority { .. }
        ));
        let behind = refused(|election| election.logs = Logs::Behind(5));
        assert_eq!(behind, ElectionError::Logs { left: 5 });
        let lengths = refused(|election| election.logs = Logs::Lengths(vec![1, 2]));
        assert_eq!(lengths, ElectionError::Logs { left: 5 });
        let latency = refused(|election| election.latency = DurationRange::new(2, 1));
        assert_eq!(latency, ElectionError::EmptyRange("latency"));
        assert!(matches!(
            refused(|election| election.timeout = DurationRange::new(2, 2)),
            ElectionError::World(_)
        ));
    }
}
