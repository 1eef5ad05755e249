//! A deterministic simulation of Raft clusters.
//!
//! The servers are [`raft_core::Raft`], and the state machines are [`raft_kv::Kv`]. Everything else
//! is simulated: time, the network, disks, clocks, processes and clients. One queue orders all
//! events, and one seed determines all random values.
//!
//! # The law
//!
//! - **A run is its script.** The same [`Script`] gives the same run, event by event, on every
//!   platform and in every build. [`World::trace_hash`] identifies the run.
//! - **A world can be cloned at any time.** A [`Run`] keeps clones. To go back in time, it
//!   continues from an earlier clone.
//! - **Invariants are checked after every event** ([`Invariant`]). A violation ends the run, and
//!   [`World::violation`] returns it.
//! - **Clients are checked too.** Watchers, lease holders and transaction clients
//!   ([`WorkloadConfig`])
//!   must receive what a reference model computes from the committed commands.
//! - **Faults are actions** ([`Action`]), so a schedule of faults is data.
//!
//! # Layers
//!
//! | folder | contents |
//! | --- | --- |
//! | `util` | data structures and arithmetic |
//! | `network`, `node`, `cluster` | the simulated servers, and what is between them |
//! | `workload` | the clients, which use the cluster |
//! | `check` | the observers, which read the cluster and never change it |
//! | `story` | the records of a run, for display |
//! | `world` | the only part that knows all others |
//! | `timeline`, `campaign`, `scenario`, `experiment` | uses of worlds |
//!
//! A node acts on itself and returns what it did. The world passes it on to clients, observers and
//! the story.
//!
//! ```
//! use raft_sim::{Action, Request, Run, Script};
//!
//! let mut run = Run::new(Script::default())?;
//! run.seek(1_000_000);
//! let put = Request::Put { key: "x".into(), value: "1".into() };
//! run.act(Action::Request { via: None, request: put })?;
//! run.seek(1_500_000);
//! assert_eq!(run.world().keys(1)[0].value, "1");
//!
//! // Go back to a time before the request, and forward again.
//! let hash = run.world().trace_hash();
//! run.seek(900_000);
//! assert!(run.world().keys(1).is_empty());
//! run.seek(1_500_000);
//! assert_eq!(run.world().trace_hash(), hash);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod campaign;
mod check;
mod cluster;
pub mod experiment;
pub mod lesson;
mod network;
mod node;
#[cfg(feature = "scenarios")]
pub mod scenario;
mod story;
mod timeline;
mod util;
mod workload;
mod world;

pub use campaign::golden::{GOLDEN_CAMPAIGN_HASH, GOLDEN_TRACE_HASH, golden_run, hash_of_seeds};
pub use check::coverage;
pub use check::invariants::{Invariant, Violation};
pub use network::LostMessage;
pub use network::config::NetworkConfig;
pub use network::in_flight::InFlight;
pub use network::latency::{DurationRange, LatencyDistribution};
pub use node::config::{ClusterConfig, DiskConfig};
#[cfg(feature = "history")]
pub use raft_history::history;
pub use raft_history::linearizability;
pub use story::{
    EventKind, Facts, Flight, Group, GroupKind, Happening, LaneChange, LaneState, Link, LogRecord,
    MessageKind, Step, Trigger,
};
pub use timeline::{
    BranchError, BranchId, BranchInfo, Comparison, Condition, Ending, Landmark, Parting, Progress,
    Run, Script, ScriptError, Target, TimedAction,
};
pub use workload::config::WorkloadConfig;
pub use workload::kv::{Operation, OperationState};
pub use workload::request::Request;
pub use workload::steady::{SteadyWorkload, Timing};
pub use world::World;
pub use world::action::Action;
pub use world::apply_action::ActionError;
pub use world::config::{EARLIER_SETTING_NAMES, NODES_MAX, WorldConfig, WorldError};
pub use world::view::{ClientMessageView, EntryView, KeyView, ProcessView};
pub use world::why_not::{NoEffect, WhyNot};
