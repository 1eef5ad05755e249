//! Linearizable reads: their names, modes and outcomes.

use crate::api::types::LogIndex;

/// The number of a read, as returned by [`Raft::read`](crate::Raft::read). A server never uses a
/// number twice between two starts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ReadId(pub u64);

/// The proof that a read returns every write that was acknowledged before the read arrived.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReadMode {
    /// A quorum confirms that the leader still leads (ReadIndex, dissertation 6.4). The proof
    /// depends on no clock.
    Quorum,
    /// The lease of the leader (dissertation 6.4.1), or a quorum if the leader has no lease. The
    /// proof depends on the bound in [`Config::lease_drift_ppm`](crate::Config::lease_drift_ppm).
    Lease,
}

/// The outcome of a read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ReadOutcome {
    /// The state machine may execute the read as soon as it has applied `read_index`
    /// (dissertation 6.4).
    Ready {
        /// The read.
        id: ReadId,
        /// The commit index that the read must include.
        read_index: LogIndex,
    },
    /// The server lost its leadership, or its leader, before the read was confirmed. The client
    /// may retry at the new leader.
    Aborted {
        /// The read.
        id: ReadId,
    },
}
