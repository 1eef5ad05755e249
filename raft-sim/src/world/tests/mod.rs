//! Tests of checkers and clients in whole worlds.

mod by_hand;
mod catch_up;
mod history;
mod lease;
mod liveness;
mod stores;
mod txn;
mod watch;
