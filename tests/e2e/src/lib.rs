//! Tools for tests with real processes. The tests start the `raft` binary as users do, inject
//! faults, and check the responses of clients.
//!
//! - [`program`] finds the `raft` binary, or builds it.
//! - [`process`] and [`cluster`] start and stop nodes.
//! - [`http`] and [`grpc`] are clients. [`kv`] contains the operations of both, with their
//!   outcomes.
//! - [`workload`] runs many clients and records their responses. [`history`] checks the record.
//!
//! # Rules
//!
//! - Tests never sleep. They wait for a condition with a timeout ([`wait::until`]).
//! - A test ends all processes that it started. A failed test prints their logs.
//! - An outcome that a client does not know is recorded as unknown, never as failed.

pub mod cluster;
pub mod grpc;
pub mod history;
pub mod http;
pub mod kv;
pub mod port;
pub mod process;
pub mod program;
pub mod wait;
pub mod workload;
