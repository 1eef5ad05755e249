//! Commands that clients propose (§5.3).

use bytes::Bytes;

use crate::api::entry::{Entry, Payload};
use crate::api::event::Event;
use crate::api::types::{Instant, LogId, NodeId};
use crate::macros::{described_enum, ensure};
use crate::raft::{Raft, RoleState};

described_enum! {
    /// Why a command was not taken. It is certainly in no log.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[non_exhaustive]
    pub enum ProposeError: core::error::Error {
        /// Only a leader takes commands.
        NotLeader {
            /// Where to ask instead, if known.
            leader: Option<NodeId>,
        } =>
            if (let Some(leader) = leader) "only the leader takes commands: ask {leader}";
            else "only a leader takes commands, and none is known: ask again later";
        /// The command exceeds [`Config::command_bytes_max`](crate::Config::command_bytes_max).
        TooLarge {
            /// Its size.
            bytes: usize,
            /// The limit.
            bytes_max: usize,
        } => "the command has {bytes} bytes, more than the limit of {bytes_max}";
        /// Too much is uncommitted, or not on the leader's disk; ask again later
        /// ([`Config::uncommitted_bytes_max`](crate::Config::uncommitted_bytes_max)).
        Overloaded {
            /// What is uncommitted, or not durable.
            uncommitted_bytes: usize,
        } => "{uncommitted_bytes} bytes wait to be committed and written: ask again later";
        /// There is no room on the leader's disk.
        DiskFull => "there is no room on the leader's disk";
        /// The leader is handing over; ask the next one.
        Transferring {
            /// Who is to lead.
            to: NodeId,
        } => "leadership is being handed over to {to}";
        /// The server stopped for good.
        Stopped => "the server has stopped for good";
    }
}

impl Raft {
    /// Takes a command into the leader's log.
    ///
    /// The command succeeded if the committed entry at the returned index has the returned term. If
    /// it has another term, the command is certainly lost. Until then nobody knows.
    ///
    /// # Errors
    ///
    /// [`ProposeError`]; the command is in no log then.
    pub fn propose(&mut self, command: Bytes, now: Instant) -> Result<LogId, ProposeError> {
        ensure!(!self.start_input(now), ProposeError::Stopped);
        let RoleState::Leader(leader) = &self.role else {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        };
        ensure!(!self.disk_is_full, ProposeError::DiskFull);
        if let Some(transfer) = &leader.transfer {
            return Err(ProposeError::Transferring { to: transfer.target });
        }
        let (bytes, bytes_max) = (command.len(), self.config.command_bytes_max);
        ensure!(bytes <= bytes_max, ProposeError::TooLarge { bytes, bytes_max });
        let uncommitted_bytes = leader.uncommitted_bytes;
        let has_room = uncommitted_bytes < self.config.uncommitted_bytes_max;
        ensure!(has_room, ProposeError::Overloaded { uncommitted_bytes });
        let entry = self.append(Payload::Command(command));
        self.emit(|| Event::Proposed { entry });
        Ok(entry)
    }

    /// Appends an entry of the leader's own term.
    pub(crate) fn append(&mut self, payload: Payload) -> LogId {
        let id = LogId::new(self.term(), self.log.last().index.next());
        let entry = Entry { id, payload };
        if let RoleState::Leader(leader) = &mut self.role {
            leader.uncommitted_bytes += entry.bytes();
        }
        self.log.append(entry);
        id
    }
}
