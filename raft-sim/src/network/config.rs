//! The settings of the network.

use serde::{Deserialize, Serialize};

use crate::network::latency::{DurationRange, LatencyDistribution};

/// The settings of the network between the servers, and between servers and clients.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkConfig {
    /// The latencies of messages.
    pub latency: DurationRange,
    /// The distribution of latencies over that range.
    pub latency_shape: LatencyDistribution,
    /// The bytes that a link carries per second in each direction. Zero means no limit.
    pub bandwidth: u64,
    /// The share of messages that are lost.
    pub loss_per_mille: u32,
    /// The share of messages that arrive twice.
    pub duplicate_per_mille: u32,
    /// Allows a message to overtake an earlier message on the same link.
    pub reorder: bool,
}

impl Default for NetworkConfig {
    fn default() -> Self {
        Self {
            latency: DurationRange::new(5_000, 15_000),
            latency_shape: LatencyDistribution::Uniform,
            bandwidth: 0,
            loss_per_mille: 0,
            duplicate_per_mille: 0,
            reorder: false,
        }
    }
}
