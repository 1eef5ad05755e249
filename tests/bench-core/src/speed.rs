//! How many commits per second.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::{CASES, CORES, Case, Commands, Core, check, commit, warmed_up};

/// Chooses cores.
pub type Among = fn(&Core) -> bool;

/// For every case and core the measurements, in ascending order.
pub struct Speeds {
    measured: Vec<Vec<Vec<f64>>>,
}

impl Speeds {
    /// The median of commits per second.
    #[must_use]
    pub fn median(&self, case: usize, core: usize) -> f64 {
        let measured = &self.measured[case][core];
        measured[measured.len() / 2]
    }

    /// The least and the greatest that was measured.
    #[must_use]
    pub fn range(&self, case: usize, core: usize) -> (f64, f64) {
        let measured = &self.measured[case][core];
        (measured[0], measured[measured.len() - 1])
    }

    /// Ours in relation to the fastest of others, and which that is.
    #[must_use]
    pub fn ratio(&self, case: usize, among: Among) -> (f64, usize) {
        let others = (1..CORES.len()).filter(|other| among(&CORES[*other]));
        let fastest = others.max_by(|one, other| {
            self.median(case, *one)
                .total_cmp(&self.median(case, *other))
        });
        let fastest = fastest.unwrap_or(0);
        (self.median(case, 0) / self.median(case, fastest), fastest)
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
        speeds
            .iter_mut()
            .for_each(|speeds| speeds.sort_by(f64::total_cmp));
    }
    Ok(Speeds { measured })
}

fn run(core: &Core, case: &Case) -> Result<f64> {
    let mut commands = Commands::new(case.bytes);
    let mut cluster = warmed_up(core, case, &mut commands)?;
    let started = Instant::now();
    let commits = commit(
        cluster.as_mut(),
        &mut commands,
        case.in_flight,
        case.commits,
    )?;
    let seconds = started.elapsed().as_secs_f64();
    check(cluster.as_mut())?;
    Ok(commits as f64 / seconds)
}
