//! Repetitions of published experiments.
//!
//! [`Election`] measures how long a cluster is without a leader after its leader has failed, as
//! chapter 9 of the dissertation and Figure 16 of the paper do. The servers are those of
//! production, so the measurement describes them. [`lan`] contains the rows of Figure 16, and
//! [`closed_form`] the results that section 9.3 derives without a simulation.

mod availability;
pub mod closed_form;
mod distribution;
mod election;
pub mod lan;
pub mod plot;
mod setup;

pub use availability::{Availability, AvailabilityResult};
pub use distribution::Distribution;
pub use election::{Election, ElectionError, Logs, Until};
