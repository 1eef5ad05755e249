//! A comparison of two implementations of Raft: raft-core, and raft 0.7.0 (raft-rs, of TiKV).
//!
//! A [`Schedule`] is a list of external events. Both clusters receive the same events. After each
//! event, leaders send heartbeats, and messages are delivered until none is left. This fixes the
//! interleaving of messages, which the paper leaves open. It also completes the search for the
//! position where two logs agree. Roles, terms, logs and commit indexes must then be equal
//! ([`compare`]).
//!
//! Two known differences are removed. Without check-quorum, raft 0.7.0 does not respond to
//! messages of an earlier term. These responses of raft-core are dropped. Candidates and voters of
//! raft 0.7.0 send their commit index, so that field is removed.
//!
//! [`quorum_math`] compares quorums, votes and membership changes.

mod core_cluster;
pub mod quorum_math;
mod raft_rs_cluster;
mod schedule;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

pub use core_cluster::{RaftCore, Rules};
pub use raft_rs_cluster::RaftRs;
pub use schedule::{Event, Rng, Schedule};

/// The state of a server that must be equal in both implementations.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// True if the server leads.
    pub leads: bool,
    /// The term.
    pub term: u64,
    /// The terms and commands of the entries. The first entry of a leader has an empty command.
    pub log: Vec<(u64, Vec<u8>)>,
    /// The commit index.
    pub commit: usize,
}

/// Servers of one implementation, in memory. Each write is durable at once.
pub trait Cluster {
    /// Fires the election timer of a server. This has no effect on a leader.
    fn campaign(&mut self, at: usize) -> Result<()>;
    /// Makes a leader send heartbeats.
    fn heartbeat(&mut self, at: usize) -> Result<()>;
    /// Proposes a command at a leader.
    fn propose(&mut self, at: usize, command: u8) -> Result<()>;
    /// Restarts a server. It keeps its disk and its state machine.
    fn restart(&mut self, at: usize) -> Result<()>;
    /// Delivers messages over the connected links until no message is left.
    fn settle(&mut self, links: &[Vec<bool>]) -> Result<()>;
    /// The state of a server.
    fn view(&self, at: usize) -> Result<View>;
}

/// The number of heartbeats after each event. They suffice for a leader to detect lost messages and
/// the position where logs agree.
const BEATS: usize = 8;

/// The safety properties of one implementation.
#[derive(Default)]
struct Safety {
    leaders: BTreeMap<u64, usize>,
    committed: Vec<(u64, Vec<u8>)>,
}

/// The result of a schedule.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// The number of terms with a leader.
    pub leaders: usize,
    /// The number of committed entries.
    pub committed: usize,
}

/// Runs a schedule in both implementations.
///
/// # Errors
///
/// Returns the first difference, or the first violated safety property.
pub fn compare(schedule: &Schedule, rules: Rules) -> Result<Outcome> {
    let mut ours = RaftCore::new(schedule.servers, rules)?;
    let mut theirs = RaftRs::new(schedule.servers)?;
    let (mut our_safety, mut their_safety) = (Safety::default(), Safety::default());
    let mut links = vec![vec![true; schedule.servers]; schedule.servers];
    for (number, event) in schedule.events.iter().enumerate() {
        if let Event::Links(up) = event {
            links.clone_from(up);
        }
        let our_views = play(&mut ours, event, &links).context("ours")?;
        let their_views = play(&mut theirs, event, &links).context("theirs")?;
        let context = || format!("event {number}, {event:?}");
        our_safety.check(&our_views).with_context(|| format!("ours, {}", context()))?;
        their_safety.check(&their_views).with_context(|| format!("theirs, {}", context()))?;
        for (at, (our, their)) in our_views.iter().zip(&their_views).enumerate() {
            ensure!(
                our == their,
                "{}: server {at} differs\nours:   {our:?}\ntheirs: {their:?}",
                context()
            );
        }
    }
    Ok(Outcome { leaders: our_safety.leaders.len(), committed: our_safety.committed.len() })
}

/// Applies an event, and delivers messages until none is left.
fn play(cluster: &mut impl Cluster, event: &Event, links: &[Vec<bool>]) -> Result<Vec<View>> {
    match event {
        Event::Campaign(at) if !cluster.view(*at)?.leads => cluster.campaign(*at)?,
        Event::Propose(at, command) if cluster.view(*at)?.leads => {
            cluster.propose(*at, *command)?;
        }
        Event::Restart(at) => cluster.restart(*at)?,
        Event::Campaign(_) | Event::Propose(..) | Event::Links(_) => {}
    }
    cluster.settle(links)?;
    for _ in 0..BEATS {
        for at in 0..links.len() {
            if cluster.view(at)?.leads {
                cluster.heartbeat(at)?;
            }
        }
        cluster.settle(links)?;
    }
    (0..links.len()).map(|at| cluster.view(at)).collect()
}

impl Safety {
    fn check(&mut self, views: &[View]) -> Result<()> {
        for (at, view) in views.iter().enumerate() {
            if view.leads {
                let leader = *self.leaders.entry(view.term).or_insert(at);
                ensure!(leader == at, "two leaders in term {}", view.term);
            }
            ensure!(view.commit <= view.log.len(), "committed entries are in the log");
            let committed = &view.log[..view.commit];
            let common = committed.len().min(self.committed.len());
            ensure!(committed[..common] == self.committed[..common], "a committed entry was lost");
            self.committed.extend_from_slice(&committed[common..]);
        }
        Ok(())
    }
}
