//! A checker of recorded histories: it decides whether a key-value store was linearizable.
//!
//! [`linearizability::check`] checks a list of operations. With the feature `formats`, [`history`]
//! parses such lists from files. The crate depends on no other crate of this workspace, so the node
//! contains the checker without the simulator.
//!
//! ```
//! use raft_history::linearizability::{Call, HistoryOperation, Verdict, check};
//!
//! let operation = |call, invoked, returned| HistoryOperation {
//!     client: 1,
//!     key: "x".into(),
//!     call,
//!     invoked,
//!     returned: Some(returned),
//! };
//! let put = operation(Call::Put { value: "1".into() }, 0, 10);
//! // A read that starts after the write returned must find the value.
//! let get = operation(Call::Get { found: None }, 20, 30);
//! assert!(matches!(check(&[put, get], 1_000), Verdict::Violation(_)));
//! ```

#[cfg(feature = "formats")]
pub mod history;
pub mod linearizability;
