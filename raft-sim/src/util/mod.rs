//! Data structures and arithmetic without knowledge of Raft.

pub(crate) mod cow;
pub(crate) mod rng;
pub(crate) mod trace_hash;
pub(crate) mod units;
