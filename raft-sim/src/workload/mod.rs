//! Simulated clients: who asks, what for, and how a request is retried.

pub(crate) mod kv;
pub(crate) mod lease;
pub(crate) mod steady;
pub(crate) mod txn;
pub(crate) mod txn_ops;
pub(crate) mod watch;
