//! A deterministic world around real Raft servers.
//!
//! The servers are [`raft_core::Raft`], the state machines are [`raft_kv::Kv`]; everything else is
//! simulated: time, the network, disks, clocks, processes and clients. One queue orders what
//! happens, and one seed decides everything that chance decides.
//!
//! # The law
//!
//! - **A run is its script.** The same [`Script`] gives the same run, event by event, on every
//!   platform and in every build: [`World::trace_hash`] says whether it did.
//! - **A world can be cloned at any moment**, and a [`Run`] keeps clones, so that going back in
//!   time is going to a clone and forward from there. An action in the past forks the run.
//! - **The rules are checked after every event** ([`Invariant`]). A rule that is broken ends the
//!   world: [`World::violation`] says which, and nothing happens any more.
//! - **Watchers, lease holders and traders** are clients, too ([`WorldConfig::watch_clients`],
//!   [`WorldConfig::lease_clients`], [`WorldConfig::txn_clients`]): what they are told is judged by
//!   what the committed commands come to, reckoned beside the servers.
//! - **Faults are actions** like all others ([`Action`]), so a fault schedule is data.
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
//! // Back to where nothing was asked yet, and forward again.
//! let hash = run.world().trace_hash();
//! run.seek(900_000);
//! assert!(run.world().keys(1).is_empty());
//! run.seek(1_500_000);
//! assert_eq!(run.world().trace_hash(), hash);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod campaign;
mod check;
pub mod experiment;
pub mod lesson;
mod network;
mod node;
mod report;
#[cfg(feature = "scenarios")]
pub mod scenario;
mod story;
mod timeline;
mod util;
mod workload;
mod world;

pub use check::coverage;
pub use check::invariants::{Invariant, Violation};
pub use network::{InFlight, LatencyDistribution, LostMessage};
#[cfg(feature = "history")]
pub use raft_history::history;
pub use raft_history::linearizability;
pub use report::golden::{GOLDEN_CAMPAIGN_HASH, GOLDEN_TRACE_HASH, golden_run, hash_of_seeds};
pub use story::{
    EventKind, Facts, Flight, Group, GroupKind, Happening, LaneChange, LaneState, Link, LogRecord,
    MessageKind, Step, Trigger,
};
pub use timeline::{
    BranchError, BranchId, BranchInfo, Comparison, Condition, Ending, Landmark, Parting, Progress,
    Run, Script, ScriptError, Target, TimedAction,
};
pub use util::rng::DurationRange;
pub use workload::kv::{Operation, OperationState};
pub use workload::steady::{SteadyWorkload, Timing};
pub use world::World;
pub use world::action::{Action, Request};
pub use world::apply_action::ActionError;
pub use world::config::{EARLIER_SETTING_NAMES, NODES_MAX, WorldConfig, WorldError};
pub use world::view::{ClientMessageView, EntryView, KeyView, ProcessView};
pub use world::why_not::{NoEffect, WhyNot};
