//! The time that a cluster is without a leader after its leader has failed.

use std::fmt;
use std::ops::RangeInclusive;

use raft_core::{Raft, Role};

use crate::experiment::distribution::Distribution;
use crate::network::latency::DurationRange;
use crate::util::rng::SimRng;
use crate::world::World;
use crate::world::config::WorldError;

/// One kind of election, which is repeated many times. Times are in microseconds.
///
/// At the start of each trial the servers have a leader, whose heartbeat resets all election timers
/// at the same time. The leader fails some time later (`crash_after`), and the measured time starts
/// with its failure.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Election {
    /// The number of servers, including the leader.
    pub servers: u64,
    /// The number of servers that failed earlier, besides the leader.
    pub failed: u64,
    /// True if the leader's process restarts at once, as a follower.
    ///
    /// The dissertation's availability simulation starts at this time: all servers that did not
    /// fail earlier, including the old leader, wait for their election timeouts. Its figures cannot
    /// be obtained otherwise: with four of five remaining servers the mean is 468 ms, and not 430.
    pub leader_returns: bool,
    /// The logs of the remaining servers.
    pub logs: Logs,
    /// The one-way message latency.
    pub latency: DurationRange,
    /// The election timeouts.
    pub timeout: DurationRange,
    /// The time until a write is durable.
    pub disk: DurationRange,
    /// The time between the last heartbeat and the failure of the leader.
    pub crash_after: DurationRange,
    /// The end of the election.
    pub until: Until,
    /// The numbers of terms by which the last servers are ahead of the leader, because they
    /// campaigned while they were isolated. The last number belongs to the last server.
    pub terms_ahead: Vec<u64>,
    /// Links with a latency of their own: sender, receiver, and one-way latency.
    pub links: Vec<(u64, u64, DurationRange)>,
    /// Lost messages, per mille.
    pub loss_per_mille: u32,
    /// The largest error of each server's clock, in parts per million.
    pub drift_ppm: u32,
    /// See [`raft_core::Config::pre_vote`]. It is off in published figures.
    pub pre_vote: bool,
    /// See [`raft_core::Config::check_quorum`].
    pub check_quorum: bool,
}

/// The logs of the remaining servers. A server does not vote for a candidate whose log is shorter
/// than its own (§5.4.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Logs {
    /// All logs are equal.
    Same,
    /// So many servers lack the last entry. They can win only if they are a majority of the
    /// cluster.
    Behind(u64),
    /// Each log is one entry shorter than that of another server.
    AllDifferent,
    /// The number of entries of each log.
    Lengths(Vec<u64>),
}

/// The end of an election.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// A server has become leader.
    Elected,
    /// All remaining servers know the same leader.
    Heard,
}

/// Why an election is impossible, or why it failed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ElectionError {
    /// The remaining servers are not a majority.
    NoMajority {
        /// The number of remaining servers.
        left: u64,
        /// The number of votes of a majority.
        needed: u64,
    },
    /// [`Logs::Lengths`] must have one number per remaining server, and [`Logs::Behind`] a smaller
    /// number than there are remaining servers.
    Logs {
        /// The number of remaining servers.
        left: u64,
    },
    /// Only remaining servers besides the leader can be ahead in terms. With pre-vote no server
    /// can.
    TermsAhead,
    /// This link does not exist.
    UnknownLink(u64, u64),
    /// The named range ends before it begins.
    EmptyRange(&'static str),
    /// The configuration of the servers is invalid.
    World(WorldError),
    /// No server became leader in time.
    NoLeader {
        /// The seed of the trial.
        seed: u64,
        /// The time, in longest election timeouts.
        timeouts: u64,
    },
    /// An invariant of Raft was violated.
    Violation(String),
}

/// The time after which a trial is abandoned, in longest election timeouts. Timeouts that differ by
/// 1 ms at a latency of 15 ms need a tenth of it.
const TIMEOUTS_MAX: u64 = 10_000;

impl Election {
    /// The availability simulation of the dissertation's chapter 9: five servers in a wide area
    /// network with 30 to 40 ms of latency, timeouts of 300 to 600 ms, no disks, and equal logs.
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

    /// Runs so many elections, and returns their times. The same seed gives the same times.
    ///
    /// # Errors
    ///
    /// [`ElectionError`] if elections of this kind are impossible, or one failed.
    pub fn run_elections(&self, trials: usize, seed: u64) -> Result<Vec<u64>, ElectionError> {
        let lengths = self.log_lengths()?;
        let mut random = SimRng::new(seed);
        (0..trials).map(|_| self.trial(&lengths, random.next())).collect()
    }

    /// Runs so many elections, and returns the distribution of their times.
    ///
    /// # Errors
    ///
    /// As [`run_elections`](Self::run_elections).
    pub fn measure(&self, trials: usize, seed: u64) -> Result<Distribution, ElectionError> {
        let times = self.run_elections(trials.max(1), seed)?;
        Distribution::new(times).ok_or(ElectionError::NoLeader { seed, timeouts: 0 })
    }

    /// The number of entries that each remaining server has beyond the shortest log, in descending
    /// order. The servers are alike, so the assignment does not matter. The leader has the longest
    /// log, and is the first remaining server if it returns.
    fn log_lengths(&self) -> Result<Vec<u64>, ElectionError> {
        let left = self.check()?;
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
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        Ok(lengths)
    }

    /// Checks everything but the logs, and returns the number of remaining servers.
    fn check(&self) -> Result<u64, ElectionError> {
        let gone = self.failed.saturating_add(u64::from(!self.leader_returns));
        let left = self.servers.saturating_sub(gone);
        let needed = self.servers / 2 + 1;
        if left < needed {
            return Err(ElectionError::NoMajority { left, needed });
        }
        let ranges =
            [("latency", self.latency), ("disk", self.disk), ("crash_after", self.crash_after)];
        if let Some((name, _)) = ranges.iter().find(|(_, range)| range.min > range.max) {
            return Err(ElectionError::EmptyRange(name));
        }
        let ahead = self.terms_ahead.len() as u64;
        if ahead > left - u64::from(self.leader_returns) || ahead > 0 && self.pre_vote {
            return Err(ElectionError::TermsAhead);
        }
        let servers = 1..=self.servers;
        for (from, to, range) in &self.links {
            if from == to || !servers.contains(from) || !servers.contains(to) {
                return Err(ElectionError::UnknownLink(*from, *to));
            }
            if range.min > range.max {
                return Err(ElectionError::EmptyRange("links"));
            }
        }
        Ok(left)
    }

    /// The remaining servers.
    pub(super) fn remaining(&self) -> RangeInclusive<u64> {
        let first = if self.leader_returns { 1 } else { 2 };
        first..=self.servers - self.failed
    }

    /// Runs one election, and returns its time.
    fn trial(&self, lengths: &[u64], seed: u64) -> Result<u64, ElectionError> {
        let mut world = self.world_without_leader(lengths, seed)?;
        let crashed_at = self.crash_after.sample(&mut SimRng::new(!seed));
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

    fn is_over(&self, world: &World) -> bool {
        let mut servers = self.remaining().filter_map(|node| world.raft(node));
        match self.until {
            Until::Elected => servers.any(|server| server.role() == Role::Leader),
            Until::Heard => {
                let mut leaders = servers.map(Raft::leader);
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
                "no majority: {left} servers remain and {needed} votes are needed; let fewer servers fail"
            ),
            Self::Logs { left } => write!(
                f,
                "invalid logs: {left} servers remain; give one log length for each, or let fewer be behind"
            ),
            Self::TermsAhead => f.write_str(
                "invalid terms: a server is ahead that failed, was leader or uses pre-vote; \
                 let fewer servers be ahead, without pre-vote",
            ),
            Self::UnknownLink(from, to) => {
                write!(f, "unknown link: {from} to {to}; use two different servers")
            }
            Self::EmptyRange(name) => {
                write!(f, "invalid range: {name}; the end must not be before the beginning")
            }
            Self::World(error) => error.fmt(f),
            Self::NoLeader { seed, timeouts } => write!(
                f,
                "timed out: no leader after {timeouts} election timeouts (trial seed {seed}); \
                 use timeouts with a larger range"
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

    /// The published quantiles for five servers without other failed servers, in milliseconds.
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

    /// Without latency no vote is split, and the earliest timeout determines the time (section
    /// 9.3).
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
        // A candidate that receives a later term loses, although a majority would vote for it.
        assert!(mean(|election| election.terms_ahead = vec![10]) > plain * 1.05);
        assert!(mean(|election| election.terms_ahead = vec![10, 20, 30, 40]) > plain * 1.08);
        assert!(mean(|election| election.loss_per_mille = 500) > plain * 1.5);
        let drifting = mean(|election| election.drift_ppm = 500_000);
        assert!(
            (plain * 0.5..plain * 0.95).contains(&drifting),
            "the fastest clock determines the time"
        );
        let slow_way = |election: &mut Election| {
            let others = (2..=5).flat_map(|node| [(1, node), (node, 1)]);
            let latency = DurationRange::new(200_000, 200_000);
            election.links = others.map(|(from, to)| (from, to, latency)).collect();
        };
        assert!(mean(slow_way) > plain * 1.02);
    }

    /// A server that lacks an entry of a majority cannot win.
    #[test]
    fn stale_server_is_not_elected() {
        let mut election = Election::wan();
        election.leader_returns = false;
        election.logs = Logs::Lengths(vec![5, 9, 9, 5]);
        let lengths = election.log_lengths().unwrap();
        assert_eq!(lengths, [4, 4, 0, 0]);
        for seed in 0..200 {
            let mut world = election.world_without_leader(&lengths, seed).unwrap();
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
        let error_of = |change: fn(&mut Election)| {
            let mut election = Election::wan();
            change(&mut election);
            election.run_elections(1, 1).unwrap_err()
        };
        let no_majority = error_of(|election| election.failed = 3);
        assert_eq!(no_majority, ElectionError::NoMajority { left: 2, needed: 3 });
        let ahead = error_of(|election| election.terms_ahead = vec![1; 5]);
        assert_eq!(ahead, ElectionError::TermsAhead);
        assert_eq!(
            error_of(|election| election.links = vec![(1, 9, DurationRange::new(0, 0))]),
            ElectionError::UnknownLink(1, 9)
        );
        assert!(matches!(
            error_of(|election| election.failed = u64::MAX),
            ElectionError::NoMajority { .. }
        ));
        let behind = error_of(|election| election.logs = Logs::Behind(5));
        assert_eq!(behind, ElectionError::Logs { left: 5 });
        let lengths = error_of(|election| election.logs = Logs::Lengths(vec![1, 2]));
        assert_eq!(lengths, ElectionError::Logs { left: 5 });
        let latency = error_of(|election| election.latency = DurationRange::new(2, 1));
        assert_eq!(latency, ElectionError::EmptyRange("latency"));
        assert!(matches!(
            error_of(|election| election.timeout = DurationRange::new(2, 2)),
            ElectionError::World(_)
        ));
    }
}
