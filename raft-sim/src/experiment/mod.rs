//! Experiments that others have published, repeated with these servers.
//!
//! [`Election`] measures how long a cluster is without a leader after its leader has failed, as
//! chapter 9 of the dissertation and Figure 16 of the paper do. The servers are the ones that
//! run in production, so what is measured is theirs. [`lan`] holds the rows of Figure 16,
//! [`closed_form`] what section 9.3 derives on paper.

mod availability;
pub mod closed_form;
mod distribution;
mod election;
pub mod lan;
pub mod plot;

pub use availability::{Availability, AvailabilityResult};
pub use distribution::Distribution;
pub use election::{Election, ElectionError, Logs, Until};
