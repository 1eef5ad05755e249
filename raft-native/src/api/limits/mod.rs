//! The checks and limits that REST and gRPC requests pass before a handler runs.

pub(crate) mod body_meter;
pub(crate) mod concurrency;
pub(crate) mod request_guard;
