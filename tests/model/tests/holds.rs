//! What the dev profile, with its assertions in raft-core, has time for.

use raft_model::{Bounds, Disk, Network, Order, check};

#[test]
fn one_term_with_crash_model_holds() {
    let bounds = Bounds { crashes: 1, ..Bounds::new("one term with a crash") };
    let report = check(bounds, Order::DepthFirst, 1, None);
    assert!(report.holds(), "{report:#?}");
}

/// What one network allows for, the other does, too.
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

/// A check that was stopped, or in which nothing happens, proves nothing and says so.
#[test]
fn vacuous_model_is_rejected() {
    let empty = Bounds { timeouts: 0, ..Bounds::new("nobody stands") };
    let report = check(empty, Order::DepthFirst, 1, None);
    assert!(!report.holds());
    assert!(report.never.contains(&"a leader is elected"));
    let stopped = check(Bounds::new("stopped"), Order::DepthFirst, 1, Some(100));
    assert!(!stopped.holds());
}
