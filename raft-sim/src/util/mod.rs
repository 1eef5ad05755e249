//! Data structures and arithmetic that know nothing of Raft.

pub(crate) mod cow;
pub(crate) mod rng;
pub(crate) mod units;
