//! Cuts the power of a simulated disk many times: `cargo xtask power-cuts`.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use clap::Parser;
use raft_storage::power_cuts::{self, BrokenPromise, Mode, Totals};

/// Cuts the power of a simulated disk at random moments, and checks what is left.
#[derive(Parser)]
struct Arguments {
    /// The number of power cuts.
    #[arg(long, default_value_t = 100_000)]
    cuts: u64,
    /// The seed of the first world.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Damage synced bytes after each power cut, and expect that each damage is located.
    #[arg(long)]
    damage: bool,
    /// The number of threads.
    #[arg(long, default_value_t = 1)]
    threads: u64,
}

/// Power cuts that a thread takes at once. The seeds of two shares are far apart.
const SHARE: u64 = 1_000;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let began = Instant::now();
    match run(&arguments) {
        Ok(totals) => {
            println!("{} power cuts, {} ends of the process", totals.cuts, totals.kills);
            println!("{} acknowledged entries, none lost", totals.entries);
            println!("{} pending batches survived a power cut", totals.survived);
            println!("{} writes without space, {} tables", totals.full, totals.tables);
            if arguments.damage {
                println!("{} damages, all located", totals.damages);
            }
            println!("{:.0} s", began.elapsed().as_secs_f64());
            ExitCode::SUCCESS
        }
        Err(broken) => {
            println!("{broken}");
            let damage = if arguments.damage { " --damage" } else { "" };
            println!("repeat: cargo xtask power-cuts --cuts 20 --seed {}{damage}", broken.seed);
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<Totals, BrokenPromise> {
    let mode = if arguments.damage { Mode::Damage } else { Mode::PowerCuts };
    let shares = arguments.cuts.div_ceil(SHARE);
    let next = AtomicU64::new(0);
    let work = || {
        let mut sum = Totals::default();
        loop {
            let share = next.fetch_add(1, Ordering::Relaxed);
            if share >= shares {
                return Ok(sum);
            }
            let cuts = SHARE.min(arguments.cuts - share * SHARE);
            sum += power_cuts::run(mode, arguments.seed + share * SHARE, cuts)?;
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..arguments.threads.max(1)).map(|_| scope.spawn(work)).collect();
        let mut sum = Totals::default();
        for thread in threads {
            match thread.join() {
                Ok(totals) => sum += totals?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(sum)
    })
}
