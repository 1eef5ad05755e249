//! The requests that a server accepts from clients, and its responses.

use raft_core::{Instant, ReadMode, Role, Term};
use raft_kv::{Command, KeyRange, Outcome, RangeRequest, RangeResponse};

use crate::node::Running;
use crate::node::leases::KeepAlive;

/// The kind of a client. Servers treat all kinds alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum ClientKind {
    /// Reads and writes single keys.
    Kv,
    /// Holds leases.
    Lease,
    /// Uses transactions and stale reads.
    Txn,
}

/// Identifies one attempt of a client's request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RequestId {
    pub(crate) kind: ClientKind,
    /// The number of the operation among those of its kind, from 1.
    pub(crate) operation: u64,
    /// The number of the attempt, from 1.
    pub(crate) attempt: u64,
}

/// The content of a client's request.
#[derive(Clone, Debug)]
pub(crate) enum ClientRequest {
    /// Replicate and apply a command.
    Propose(Command),
    /// Read a key, linearizably.
    Get { key: String },
    /// Keep a lease alive.
    KeepAlive { lease: i64 },
    /// Read all keys with a prefix from the state of this server.
    StaleRead(RangeRequest),
}

impl ClientRequest {
    /// A stale read of the keys of the key-value workload, at a revision or at the latest one.
    pub(crate) fn stale_read(prefix: &'static str, revision: Option<i64>) -> Self {
        Self::StaleRead(RangeRequest { revision, ..RangeRequest::new(KeyRange::prefix(prefix)) })
    }
}

/// The response of a server to a client.
#[derive(Clone, Debug)]
pub(crate) enum ClientResponse {
    /// The command was applied.
    Applied(Outcome),
    /// The value of the key.
    Found(Option<String>),
    /// Another entry was committed in place of the command, so the command has no effect.
    Replaced,
    /// The request has no effect. The client should retry at the leader, if it is known.
    Redirect(Option<u64>),
    /// Whether the lease was kept alive. A lease that was not kept alive does not exist.
    KeptAlive(bool),
    /// The keys that a stale read found.
    StaleRead(RangeResponse),
}

/// A linearizable read that waits for its confirmation or for entries to be applied.
#[derive(Clone, Debug)]
pub(crate) enum PendingRead {
    /// A key is read.
    Get { key: String },
    /// A lease is kept alive by the leader of this term.
    KeepAlive { keep_alive: KeepAlive, term: Term },
}

impl Running {
    /// Proposes a command. Returns a response only if the server cannot accept the command.
    pub(crate) fn propose(
        &mut self,
        id: RequestId,
        command: &Command,
        now: Instant,
    ) -> Option<ClientResponse> {
        match self.raft.propose(command.encode(), now) {
            Ok(entry) => {
                self.proposals.insert(entry.index, (entry.term, id));
                None
            }
            Err(_) => Some(self.redirect()),
        }
    }

    /// Starts a linearizable read. Returns a response only if the server cannot accept the read.
    pub(crate) fn read(
        &mut self,
        id: RequestId,
        pending: PendingRead,
        mode: ReadMode,
        now: Instant,
    ) -> Option<ClientResponse> {
        match self.raft.read(mode, now) {
            Ok(read) => {
                self.reads.insert(read, (id, pending));
                None
            }
            Err(_) => Some(self.redirect()),
        }
    }

    /// Starts the read that must confirm the leadership before a lease is kept alive.
    pub(crate) fn start_keep_alive(
        &mut self,
        id: RequestId,
        keep_alive: KeepAlive,
        mode: ReadMode,
        now: Instant,
    ) -> Option<ClientResponse> {
        if self.raft.role() != Role::Leader {
            return Some(self.redirect());
        }
        let term = self.raft.term();
        self.read(id, PendingRead::KeepAlive { keep_alive, term }, mode, now)
    }

    /// The response that names the leader, unless the leader is this server itself.
    pub(crate) fn redirect(&self) -> ClientResponse {
        let own = self.raft.id();
        let leader = self.raft.leader().filter(|leader| *leader != own);
        ClientResponse::Redirect(leader.map(|leader| leader.0))
    }
}
