//! How many commits per second.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

use crate::{CASES, CORES, Case, Commands, Core, check, commit, warmed_up};

/// Chooses cores.
pub type Among = fn(&Core) -> bool;

/// For every case and core the measurements, in the order in which they were taken.
pub struct Speeds {
    measured: Vec<Vec<Vec<f64>>>,
}

impl Speeds {
    /// The median of commits per second.
    #[must_use]
    pub fn median(&self, case: usize, core: usize) -> f64 {
        median(self.measured[case][core].iter().copied())
    }

    /// The least and the greatest that was measured.
    #[must_use]
    pub fn range(&self, case: usize, core: usize) -> (f64, f64) {
        let measured = self.measured[case][core].iter().copied();
        let least = measured.clone().fold(f64::INFINITY, f64::min);
        (least, measured.fold(0.0, f64::max))
    }

    /// Ours in relation to the fastest of others, and which that is: the median of the ratios of
    /// measurements that were taken right after each other.
    #[must_use]
    pub fn ratio(&self, case: usize, among: Among) -> (f64, usize) {
        let others = (1..CORES.len()).filter(|other| among(&CORES[*other]));
        let fastest = others
            .max_by(|one, other| self.median(case, *one).total_cmp(&self.median(case, *other)));
        let fastest = fastest.unwrap_or(0);
        let measured = &self.measured[case];
        let pairs = measured[0].iter().zip(&measured[fastest]);
        (median(pairs.map(|(ours, theirs)| ours / theirs)), fastest)
    }
}

/// Measures every core in every case. The cores take turns, so that whatever else the machine does
/// hits all alike.
pub fn measure(repetitions: usize) -> Result<Speeds> {
    let mut measured = vec![vec![Vec::new(); CORES.len()]; CASES.len()];
    for (case, speeds) in CASES.iter().zip(&mut measured) {
        eprintln!("{} bytes, {} in flight", case.bytes, case.in_flight);
        for _ in 0..repetitions.max(1) {
            for (core, speeds) in CORES.iter().zip(&mut *speeds) {
                speeds.push(run(core, case).with_context(|| core.name)?);
            }
        }
    }
    Ok(Speeds { measured })
}

fn run(core: &Core, case: &Case) -> Result<f64> {
    let mut commands = Commands::new(case.bytes);
    let mut cluster = warmed_up(core, case, &mut commands)?;
    let started = processor_time()?;
    let commits = commit(cluster.as_mut(), &mut commands, case.in_flight, case.commits)?;
    let seconds = (processor_time()? - started).as_secs_f64();
    check(cluster.as_mut())?;
    Ok(commits as f64 / seconds)
}

/// The time that the processor spent on this thread, which never waits: what the machine does for
/// others meanwhile does not count.
pub(crate) fn processor_time() -> Result<Duration> {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).context("a time before the thread began")
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
