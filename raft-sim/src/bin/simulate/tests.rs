//! Tests of campaigns that fail or are interrupted.

use super::*;

fn run_until_the_end(
    arguments: &[&str],
    end: u64,
    interrupted: &AtomicBool,
    run: impl Fn(u64) -> Report + Sync,
) -> (Totals, Cli) {
    let cli = Cli::parse_from([&["simulate"], arguments].concat());
    let seeds = Seeds {
        next: AtomicU64::new(cli.start),
        end,
        deadline: None,
        enough: AtomicBool::new(false),
        interrupted,
    };
    let progress = Progress::Seeds(end - cli.start);
    let totals = run_all(&seeds, 2, &run, &cli, &progress, Instant::now());
    (totals, cli)
}

fn run(seed: u64) -> Report {
    Campaign::new(seed).run()
}

/// A panic of one seed does not end a long campaign.
#[test]
fn panic_is_one_failing_seed() {
    let interrupted = AtomicBool::new(false);
    let panics = |seed| match seed {
        2 => panic!("a server panics"),
        _ => run(seed),
    };
    let (totals, cli) = run_until_the_end(&["--keep-going"], 5, &interrupted, panics);
    assert_eq!(totals.seeds, 5);
    assert!(totals.events > 1_000);
    let [failure] = &*totals.failures else {
        panic!("expected one failure, got {}", totals.failures.len());
    };
    assert_eq!(failure.to_string(), "seed 2: panicked: a server panics");
    let ended = conclude(&totals, &cli, 2, Instant::now(), &interrupted);
    assert_eq!(ended, ExitCode::FAILURE);
    let (totals, _) = run_until_the_end(&[], u64::MAX, &interrupted, panics);
    assert_eq!(totals.failures.len(), 1);
}

/// An interrupted campaign prints the results so far and has an exit status of its own.
#[test]
fn interrupted_campaign_fails_with_partial_totals() {
    let interrupted = AtomicBool::new(false);
    let interrupts = |seed| {
        let report = run(seed);
        if seed == 6 {
            interrupted.store(true, Ordering::Relaxed);
        }
        report
    };
    let (totals, cli) = run_until_the_end(&[], u64::MAX, &interrupted, interrupts);
    // Seeds are started in order, so all seeds up to this one were started.
    assert!(totals.seeds > 6, "{}", totals.seeds);
    let ended = conclude(&totals, &cli, 2, Instant::now(), &interrupted);
    assert_eq!(ended, ExitCode::from(INTERRUPTED));
}

#[test]
fn empty_campaign_is_not_success() {
    let interrupted = AtomicBool::new(false);
    let cli = Cli::parse_from(["simulate"]);
    let ended = conclude(&Totals::default(), &cli, 1, Instant::now(), &interrupted);
    assert_eq!(ended, ExitCode::FAILURE);
}

#[test]
fn invalid_seed_ranges_are_rejected() {
    for arguments in [
        "--minutes=-1",
        "--minutes=0",
        "--minutes=nan",
        "--minutes=inf",
        "--seeds=0",
        "--jobs=0",
        "--jobs=1025",
        "--stretch=0",
        "--stretch=18446744073709551615",
    ] {
        let is_rejected = Cli::try_parse_from(["simulate", arguments]).is_err();
        assert!(is_rejected, "{arguments}");
    }
    let interrupted = AtomicBool::new(false);
    let too_many = ["simulate", "--start=18446744073709551615", "--seeds=2"];
    let ended = campaign(&Cli::parse_from(too_many), &interrupted);
    assert_eq!(ended, ExitCode::from(2));
    // The campaign ends with the last seed and does not wrap around.
    let last = ["simulate", "--start=18446744073709551614", "--minutes=60"];
    let ended = campaign(&Cli::parse_from(last), &interrupted);
    assert_eq!(ended, ExitCode::SUCCESS);
}
