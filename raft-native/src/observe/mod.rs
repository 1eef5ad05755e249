//! The observations of a node: events, health, disk space, timings, names and status.
//!
//! Nothing in this folder takes a decision, and no other part of the node waits for it.

pub(crate) mod disk_space;
pub(crate) mod event_log;
pub(crate) mod health;
pub(crate) mod status;
pub(crate) mod timings;

use std::sync::Arc;

use crate::config::node_names::NodeNames;
use crate::observe::disk_space::DiskSpace;
use crate::observe::event_log::EventLog;
use crate::observe::health::Health;
use crate::observe::timings::Timings;

/// The records of one node. Clones share them.
#[derive(Clone)]
pub(crate) struct Observations {
    pub(crate) health: Arc<Health>,
    pub(crate) timings: Timings,
    pub(crate) names: NodeNames,
    pub(crate) events: EventLog,
    pub(crate) space: Arc<DiskSpace>,
}
