//! What a run leaves for people: the event log, and the golden traces.

pub(crate) mod golden;
