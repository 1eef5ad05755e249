//! Components of the state of a server that do not know [`Raft`](crate::Raft).
//!
//! Each has tests of its own. A rule that needs the whole server belongs to `raft/`.

pub(crate) mod membership;
pub(crate) mod progress;
pub(crate) mod timer;
