//! Native measurements, in processor time.

use std::error::Error;
use std::time::Duration;

use raft_sim::Run;
use raft_sim::campaign::Campaign;
use rustix::time::{ClockId, clock_gettime};

use crate::cases::Case;

/// The times of a run, and its trace hash.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// The time until the end.
    pub seconds: f64,
    /// The time of the jump back, if there was one.
    pub back_seconds: f64,
    /// The hash of the trace, which is equal on all platforms.
    pub trace_hash: u64,
}

/// Runs a case natively. Also returns the number of its events.
pub fn native(case: &Case) -> Result<(Measured, u64), Box<dyn Error>> {
    let mut run = Run::new(case.script.clone())?;
    let seconds = timed(|| run.seek(case.lasts));
    if let Some(violation) = run.world().violation() {
        return Err(format!("{}: {violation}", case.name).into());
    }
    let (trace_hash, events) = (run.world().trace_hash(), run.world().events());
    let back_seconds = case.back_to.map_or(0.0, |moment| timed(|| run.seek(moment)));
    let measured = Measured { seconds, back_seconds, trace_hash };
    Ok((measured, events))
}

/// The events per second and the simulated seconds per second of a campaign with so many seeds.
pub fn campaign(seeds: u64) -> Result<(f64, f64), Box<dyn Error>> {
    let (mut events, mut simulated, mut violated) = (0, 0, None);
    let seconds = timed(|| {
        for seed in 0..seeds {
            let report = Campaign::new(seed).run();
            events += report.events;
            simulated += report.simulated;
            violated = violated.take().or(report.violation);
        }
    });
    match violated {
        Some(violation) => Err(violation.to_string().into()),
        None => Ok((events as f64 / seconds, simulated as f64 / 1e6 / seconds)),
    }
}

/// The processor time of this thread for a closure.
fn timed(work: impl FnOnce()) -> f64 {
    let started = processor_time();
    work();
    (processor_time() - started).as_secs_f64()
}

fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// The median of values; NaN if there are none.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
