//! Checkers: they observe the cluster and the clients, and never change a run.
//!
//! A checker does not belong into the file of the thing that it checks.

pub(crate) mod auditor;
pub(crate) mod catch_up;
pub mod coverage;
pub(crate) mod history;
pub(crate) mod invariants;
pub(crate) mod kv_model;
pub(crate) mod lease;
pub(crate) mod liveness;
