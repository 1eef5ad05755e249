//! The number of commits per second.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::time::{ClockId, clock_gettime};

use crate::{CASES, CORES, Case, Commands, Core, check, commit, warmed_up};

/// A filter for cores.
pub type Among = fn(&Core) -> bool;

/// The measurements of every case and core, in the order of the repetitions.
pub struct Throughputs {
    measured: Vec<Vec<Vec<f64>>>,
}

impl Throughputs {
    /// The median of commits per second.
    #[must_use]
    pub fn median(&self, case: usize, core: usize) -> f64 {
        median(self.measured[case][core].iter().copied())
    }

    /// The lowest and the highest measurement.
    #[must_use]
    pub fn range(&self, case: usize, core: usize) -> (f64, f64) {
        let measured = self.measured[case][core].iter().copied();
        let least = measured.clone().fold(f64::INFINITY, f64::min);
        (least, measured.fold(0.0, f64::max))
    }

    /// The ratio of raft-core to the fastest other core, and the index of that core. The ratio is
    /// the median of the ratios within the repetitions.
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

/// Measures every core in every case. The cores take turns, so other load affects all of them
/// alike.
pub fn measure(repetitions: usize) -> Result<Throughputs> {
    let mut measured = vec![vec![Vec::new(); CORES.len()]; CASES.len()];
    for (case, throughputs) in CASES.iter().zip(&mut measured) {
        eprintln!("{} bytes, {} in flight", case.bytes, case.in_flight);
        for _ in 0..repetitions.max(1) {
            for (core, throughputs) in CORES.iter().zip(&mut *throughputs) {
                throughputs.push(run(core, case).with_context(|| core.name)?);
            }
        }
    }
    Ok(Throughputs { measured })
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

/// The processor time of this thread. The thread never waits, and other load does not count.
pub(crate) fn processor_time() -> Result<Duration> {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).context("negative processor time")
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
