//! Two implementations of Raft, side by side: raft-core, and raft 0.7.0 (raft-rs, of TiKV).
//!
//! A [`Schedule`] says what happens from outside: whose election timer fires, what clients propose
//! and where, which links are up, who restarts. Both clusters get it, event by event. After each
//! event leaders send heartbeats and messages are delivered until nothing more happens, so that
//! what the paper leaves to chance (how messages interleave) is decided, and what it leaves open
//! (how a leader finds out where logs agree) is over. What it does not leave open must then be the
//! same in both: who leads, in which term everybody is, everybody's log, entry by entry, and how
//! far it is committed ([`compare`]).
//!
//! Two things are left out. If a server hears from an earlier term, ours answers with its own, and
//! raft 0.7.0 keeps silent, unless it checks quorums; so such messages are lost here. And
//! candidates and voters of raft 0.7.0 tell each other what is committed, which the paper's don't;
//! so that is taken out of their messages.
//!
//! [`arithmetic`] compares what both make of majorities, votes and changes of membership.

pub mod arithmetic;
mod ours;
mod schedule;
mod theirs;

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};

pub use ours::{Ours, Rules};
pub use schedule::{Chance, Event, Schedule};
pub use theirs::Theirs;

/// What a server shows of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// Whether it leads.
    pub leads: bool,
    /// Its term.
    pub term: u64,
    /// The terms and commands of its entries; a leader's first entry has no command.
    pub log: Vec<(u64, Vec<u8>)>,
    /// How much of the log is committed.
    pub commit: usize,
}

/// Servers of one implementation, in memory. Whatever they write is durable at once.
pub trait Cluster {
    /// A server's election timer fires. A leader has none.
    fn campaign(&mut self, at: usize) -> Result<()>;
    /// A leader's heartbeat is due.
    fn beat(&mut self, at: usize) -> Result<()>;
    /// A leader takes a command.
    fn propose(&mut self, at: usize, command: u8) -> Result<()>;
    /// A server forgets everything but its disk and its state machine.
    fn restart(&mut self, at: usize) -> Result<()>;
    /// Delivers messages over the links that are up, until there are none.
    fn settle(&mut self, links: &[Vec<bool>]) -> Result<()>;
    /// What a server shows.
    fn view(&self, at: usize) -> Result<View>;
}

/// Heartbeats after each event: enough for a leader to find out what was lost, and where logs
/// agree.
const BEATS: usize = 8;

/// What must hold over time, in each of the two.
#[derive(Default)]
struct Safety {
    leaders: BTreeMap<u64, usize>,
    committed: Vec<(u64, Vec<u8>)>,
}

/// What came of a schedule.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Terms that had a leader.
    pub leaders: usize,
    /// Entries that were committed.
    pub committed: usize,
}

/// Plays a schedule in both.
///
/// # Errors
///
/// Says where they differ, or which of them broke a rule.
pub fn compare(schedule: &Schedule, rules: Rules) -> Result<Outcome> {
    let mut ours = Ours::new(schedule.servers, rules)?;
    let mut theirs = Theirs::new(schedule.servers)?;
    let (mut our_safety, mut their_safety) = (Safety::default(), Safety::default());
    let mut links = vec![vec![true; schedule.servers]; schedule.servers];
    for (number, event) in schedule.events.iter().enumerate() {
        if let Event::Links(up) = event {
            links.clone_from(up);
        }
        let our_views = play(&mut ours, event, &links).context("ours")?;
        let their_views = play(&mut theirs, event, &links).context("theirs")?;
        let place = || format!("event {number}, {event:?}");
        our_safety.check(&our_views).with_context(|| format!("ours, {}", place()))?;
        their_safety.check(&their_views).with_context(|| format!("theirs, {}", place()))?;
        for (at, (our, their)) in our_views.iter().zip(&their_views).enumerate() {
            ensure!(
                our == their,
                "{}: server {at} differs\nours:   {our:?}\ntheirs: {their:?}",
                place()
            );
        }
    }
    Ok(Outcome { leaders: our_safety.leaders.len(), committed: our_safety.committed.len() })
}

/// Carries an event out, and waits until all is quiet.
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
                cluster.beat(at)?;
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
                ensure!(leader == at, "two lead in term {}", view.term);
            }
            ensure!(view.commit <= view.log.len(), "what is committed is there");
            let committed = &view.log[..view.commit];
            let common = committed.len().min(self.committed.len());
            ensure!(committed[..common] == self.committed[..common], "a committed entry was lost");
            self.committed.extend_from_slice(&committed[common..]);
        }
        Ok(())
    }
}
