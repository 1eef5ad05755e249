//! What the tests of real processes share: they start the node's program as a person would, treat
//! it as badly as a machine may, and judge what its clients saw.
//!
//! - [`program`] finds the `raft` binary, or builds it.
//! - [`process`] and [`cluster`] start and stop it, by every way a process can end.
//! - [`rest`] and [`grpc`] speak to it; [`kv`] is what a client of either can do, with the three
//!   ways it can come out.
//! - [`workload`] keeps many clients busy and records what they saw; [`history`] judges the record.
//!
//! # The law
//!
//! - Nothing waits for a length of time: a condition is awaited with a deadline ([`wait::until`]).
//! - Whatever a test started ends with it, also when it fails; then its logs are printed.
//! - What a client doesn't know is recorded as unknown, never as failed.

pub mod cluster;
pub mod grpc;
pub mod history;
pub mod kv;
pub mod port;
pub mod process;
pub mod program;
pub mod rest;
pub mod wait;
pub mod workload;
