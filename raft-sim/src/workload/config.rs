//! The settings of the clients.

use serde::{Deserialize, Serialize};

use crate::network::latency::DurationRange;

/// The settings of the clients that start operations by themselves.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkloadConfig {
    /// The number of clients that read and write single keys.
    pub clients: u64,
    /// How long a client waits between two operations.
    #[serde(alias = "think")]
    pub think_time: DurationRange,
    /// The number of keys that the clients share.
    #[serde(alias = "keys")]
    pub key_count: u64,
    /// The number of clients that hold leases.
    #[serde(alias = "holders")]
    pub lease_clients: u64,
    /// The longest time to live of their leases, in seconds.
    pub lease_ttl: u64,
    /// The number of clients that watch keys.
    #[serde(alias = "watchers")]
    pub watch_clients: u64,
    /// The number of clients that use transactions and stale reads.
    #[serde(alias = "traders")]
    pub txn_clients: u64,
    /// How long a client waits for a response before it retries.
    pub request_timeout: u64,
}

impl Default for WorkloadConfig {
    fn default() -> Self {
        Self {
            clients: 0,
            think_time: DurationRange::new(10_000, 200_000),
            key_count: 5,
            lease_clients: 0,
            lease_ttl: 1,
            watch_clients: 0,
            txn_clients: 0,
            request_timeout: 400_000,
        }
    }
}
