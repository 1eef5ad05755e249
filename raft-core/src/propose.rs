//! Commands that clients propose (§5.3).

use core::fmt;

use bytes::Bytes;

use crate::entry::{Entry, Payload};
use crate::event::Event;
use crate::id::{Instant, LogId, NodeId};
use crate::raft::{Raft, RoleState};

/// Why a command was not taken. It is certainly in no log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum ProposeError {
    /// Only a leader takes commands.
    NotLeader {
        /// Where to ask instead, if known.
        leader: Option<NodeId>,
    },
    /// The command exceeds [`Config::command_bytes_max`](crate::Config::command_bytes_max).
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// Too much is uncommitted, or not on the leader's disk; ask again later
    /// ([`Config::uncommitted_bytes_max`](crate::Config::uncommitted_bytes_max)).
    Overloaded {
        /// What is uncommitted, or not durable.
        uncommitted_bytes: usize,
    },
    /// There is no room on the leader's disk.
    DiskFull,
    /// The leader is handing over; ask the next one.
    Transferring {
        /// Who is to lead.
        to: NodeId,
    },
    /// The server stopped for good.
    Stopped,
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
        if self.begin(now) {
            return Err(ProposeError::Stopped);
        }
        let RoleState::Leader(leader) = &self.role else {
            return Err(ProposeError::NotLeader { leader: self.leader() });
        };
        if self.disk_is_full {
            return Err(ProposeError::DiskFull);
        }
        if let Some(transfer) = &leader.transfer {
            return Err(ProposeError::Transferring { to: transfer.target });
        }
        let bytes_max = self.config.command_bytes_max;
        if command.len() > bytes_max {
            return Err(ProposeError::TooLarge { bytes: command.len(), bytes_max });
        }
        let uncommitted_bytes = leader.uncommitted_bytes;
        if uncommitted_bytes >= self.config.uncommitted_bytes_max {
            return Err(ProposeError::Overloaded { uncommitted_bytes });
        }
        let entry = self.append(Payload::Command(command));
        self.explain(|| Event::Proposed { entry });
        Ok(entry)
    }

    /// Appends an entry of the leader's own term.
    pub(crate) fn append(&mut self, payload: Payload) -> LogId {
        let id = LogId::new(self.term(), self.log.last().index.next());
        let entry = Entry { id, payload };
        if let RoleState::Leader(leader) = &mut self.role {
            leader.uncommitted_bytes += entry.bytes();
        }
        if let Payload::Membership(membership) = &entry.payload {
            self.memberships.append(id.index, (**membership).clone());
        }
        self.log.append(entry);
        id
    }
}

impl fmt::Display for ProposeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLeader { leader: Some(leader) } => {
                write!(f, "only the leader takes commands: ask {leader}")
            }
            Self::NotLeader { leader: None } => {
                f.write_str("only a leader takes commands, and none is known: ask again later")
            }
            Self::TooLarge { bytes, bytes_max } => {
                write!(f, "the command has {bytes} bytes, more than the limit of {bytes_max}")
            }
            Self::Overloaded { uncommitted_bytes } => {
                write!(
                    f,
                    "{uncommitted_bytes} bytes wait to be committed and written: ask again later"
                )
            }
            Self::DiskFull => f.write_str("there is no room on the leader's disk"),
            Self::Transferring { to } => write!(f, "leadership is being handed over to {to}"),
            Self::Stopped => f.write_str("the server has stopped for good"),
        }
    }
}

impl core::error::Error for ProposeError {}
