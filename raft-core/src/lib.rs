//! The Raft consensus protocol as a pure state machine.
#![no_std]

extern crate alloc;

mod config;
mod effects;
mod entry;
mod event;
mod id;
mod message;
mod quorum;

pub use config::{Config, ConfigError};
pub use effects::{Durable, Effects, Fetch, FetchPurpose, Outbound, ReadId, ReadOutcome, Write};
pub use entry::{Entry, HardState, Payload};
pub use event::{AppendRefusal, Event, IgnoreReason, StepDownReason, StopReason, VoteRefusal};
pub use id::{Instant, LogId, LogIndex, NodeId, Term};
pub use message::{
    AppendEntries, AppendEntriesResponse, AppendResult, Heartbeat, HeartbeatResponse, Message,
    PreVote, PreVoteResponse, RequestVote, RequestVoteResponse,
};
pub use quorum::{Membership, Tally};
