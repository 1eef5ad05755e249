//! What the API refuses or limits before a handler runs, for REST and gRPC alike.

pub(crate) mod body_meter;
pub(crate) mod concurrency;
pub(crate) mod request_guard;
