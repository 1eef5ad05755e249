//! Counts of allocations, allocated bytes and messages. They are the same in every run.
//!
//! Counting takes time, so a separate program counts.

use anyhow::Result;
use stats_alloc::{Region, StatsAlloc};

use crate::{Case, Commands, Core, check, commit, warmed_up};

/// The costs of a commit.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// Allocations and reallocations, per commit.
    pub allocations: f64,
    /// Allocated bytes, per commit.
    pub bytes: f64,
    /// Messages, per commit.
    pub messages: f64,
}

/// Counts the costs of one case.
pub fn count<A: std::alloc::GlobalAlloc>(
    allocator: &StatsAlloc<A>,
    core: &Core,
    case: &Case,
) -> Result<Counts> {
    let mut commands = Commands::new(case.bytes);
    let mut cluster = warmed_up(core, case, &mut commands)?;
    let messages = cluster.messages();
    let region = Region::new(allocator);
    let commits = commit(cluster.as_mut(), &mut commands, case.in_flight, case.commits / 4)?;
    let change = region.change();
    let messages = cluster.messages() - messages;
    check(cluster.as_mut())?;
    let commits = commits as f64;
    Ok(Counts {
        allocations: (change.allocations + change.reallocations) as f64 / commits,
        bytes: change.bytes_allocated as f64 / commits,
        messages: messages as f64 / commits,
    })
}
