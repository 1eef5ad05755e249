//! Models that are small enough for a build without optimization.

use raft_model::{Bounds, Disk, Network, Order, check};

#[test]
fn one_term_with_crash_model_holds() {
    let bounds = Bounds { crashes: 1, ..Bounds::new("one term with a crash") };
    let report = check(bounds, Order::DepthFirst, 1, None);
    assert!(report.holds(), "{report:#?}");
}

/// A network that delivers once reaches no additional states.
#[test]
fn single_delivery_reaches_known_states() {
    let servers = |network| {
        let bounds = Bounds { network, disk: Disk::InOrder, ..Bounds::new("one term") };
        let report = check(bounds, Order::DepthFirst, 1, None);
        assert!(report.holds(), "{report:#?}");
        report.servers
    };
    assert!(servers(Network::Once) <= servers(Network::Keeps));
}

/// A check that ended early, or a model without events, does not hold.
#[test]
fn vacuous_model_is_rejected() {
    let empty = Bounds { timeouts: 0, ..Bounds::new("no campaign") };
    let report = check(empty, Order::DepthFirst, 1, None);
    assert!(!report.holds());
    assert!(report.unreached.contains(&"a leader is elected"));
    let stopped = check(Bounds::new("stopped"), Order::DepthFirst, 1, Some(100));
    assert!(!stopped.holds());
}
