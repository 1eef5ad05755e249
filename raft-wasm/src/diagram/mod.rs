//! The space-time diagram: a lane for each node, and a line for each message from the moment at
//! which it left to the moment at which it arrived or was lost.
//!
//! `data` collects what lies in a window of time, `view` turns moments and nodes into places and
//! back, and `paint` draws on a canvas.

mod data;
mod paint;
mod view;

pub(crate) use data::Past;
pub(crate) use paint::{Colors, paint};
pub(crate) use view::View;
