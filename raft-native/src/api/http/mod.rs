//! The REST interface, the metrics and the files of the page.
//!
//! A file contains the handlers of one group of paths, or what several of them need to read a
//! request or to write a response.

pub(crate) mod applied;
pub(crate) mod body;
pub(crate) mod content_coding;
pub(crate) mod events;
pub(crate) mod kv;
pub(crate) mod metrics;
pub(crate) mod metrics_format;
pub(crate) mod preconditions;
#[cfg(target_os = "linux")]
pub(crate) mod process_metrics;
pub(crate) mod query;
pub(crate) mod static_files;
pub(crate) mod status;
pub(crate) mod txn;
