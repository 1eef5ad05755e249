//! Power cuts and damage on a simulated disk. `cargo xtask power-cuts` runs many more.

use raft_storage::power_cuts::{self, Mode};

/// The share of each run of the tests.
const CUTS: u64 = 4_000;

#[test]
fn power_cuts_lose_nothing_that_was_acknowledged() {
    let totals =
        power_cuts::run(Mode::PowerCuts, 1, CUTS).unwrap_or_else(|broken| panic!("{broken}"));
    assert_eq!(totals.cuts, CUTS);
    assert!(totals.survived > 20 && totals.full > 100 && totals.tables > 100, "{totals:?}");
}

#[test]
fn damage_is_always_located() {
    let totals =
        power_cuts::run(Mode::Damage, 1, CUTS / 10).unwrap_or_else(|broken| panic!("{broken}"));
    assert!(totals.damages > CUTS / 10, "{totals:?}");
}

#[cfg(feature = "sabotage")]
#[test]
fn disabled_rule_is_found() {
    use raft_storage::sabotage::{Rule, disable};

    for rule in Rule::ALL {
        disable(Some(rule));
        let found = [Mode::PowerCuts, Mode::Damage]
            .into_iter()
            .find_map(|mode| power_cuts::run(mode, 1, 5_000).err());
        disable(None);
        let found = found.unwrap_or_else(|| panic!("{rule:?} was not found"));
        println!("{rule:?}: {found:.300}");
    }
}
