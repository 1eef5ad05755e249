//! Commands of clients (§5.3).

use bytes::Bytes;

use crate::api::entry::{Entry, Payload};
use crate::api::event::Event;
use crate::api::types::{Instant, LogId, NodeId};
use crate::macros::{described_enum, ensure};
use crate::raft::Raft;
use crate::raft::role::RoleState;

described_enum! {
    /// The reason why a command was rejected. The command is in no log.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[non_exhaustive]
    pub enum ProposeError: core::error::Error {
        /// Only a leader accepts commands. The client may retry at the leader.
        NotLeader {
            /// The leader, if this server knows it.
            leader: Option<NodeId>,
        } =>
            if (let Some(leader) = leader) "this server is not the leader; retry at {leader}";
            else "no leader is known; retry later";
        /// The command exceeds [`Config::command_bytes_max`](crate::Config::command_bytes_max).
        TooLarge {
            /// The size of the command.
            bytes: usize,
            /// The limit.
            bytes_max: usize,
        } => "command is too large: {bytes} bytes; the limit is {bytes_max} bytes";
        /// Too many bytes are uncommitted, or not durable on the leader
        /// ([`Config::uncommitted_bytes_max`](crate::Config::uncommitted_bytes_max)). The client
        /// may retry later.
        Overloaded {
            /// The size of the entries that are uncommitted, or not durable on the leader.
            uncommitted_bytes: usize,
        } => "overloaded: {uncommitted_bytes} bytes are not committed and durable; retry later";
        /// The disk of the leader is full. The client may retry later.
        DiskFull => "the disk of the leader is full; retry later";
        /// A leadership transfer is in progress. The client may retry at the target.
        Transferring {
            /// The target of the transfer.
            to: NodeId,
        } => "leadership transfer in progress: to {to}; retry there";
        /// The server has stopped permanently.
        Stopped => "this server has stopped permanently; retry at another server";
    }
}

impl Raft {
    /// Input: appends a command to the log of this leader.
    ///
    /// Returns the position and term of the entry. The command is executed if the committed entry
    /// at this index has this term. If that entry has another term, the command is not executed.
    /// Until an entry is committed there, the outcome is unknown.
    ///
    /// # Errors
    ///
    /// [`ProposeError`] if the command was rejected. It is then in no log.
    #[inline]
    pub fn propose(&mut self, command: Bytes, now: Instant) -> Result<LogId, ProposeError> {
        ensure!(!self.has_stopped(now), ProposeError::Stopped);
        let RoleState::Leader(leader) = &self.role else {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        };
        ensure!(!self.volatile.disk_is_full, ProposeError::DiskFull);
        if let Some(transfer) = &leader.transfer {
            return Err(ProposeError::Transferring { to: transfer.target() });
        }
        let (bytes, bytes_max) = (command.len(), self.config.command_bytes_max);
        ensure!(bytes <= bytes_max, ProposeError::TooLarge { bytes, bytes_max });
        let uncommitted_bytes = leader.uncommitted_bytes;
        let is_below = uncommitted_bytes < self.config.uncommitted_bytes_max;
        ensure!(is_below, ProposeError::Overloaded { uncommitted_bytes });
        let entry = self.append(Payload::Command(command));
        self.emit(|| Event::Proposed { entry });
        Ok(entry)
    }

    /// Appends an entry of the leader's own term.
    pub(super) fn append(&mut self, payload: Payload) -> LogId {
        let id = LogId::new(self.term(), self.persistent.log.last().index.next());
        let entry = Entry { id, payload };
        if let RoleState::Leader(leader) = &mut self.role {
            leader.uncommitted_bytes += entry.bytes();
        }
        self.persistent.log.append(entry);
        id
    }
}
