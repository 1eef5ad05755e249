//! Full disks. A write that failed before it started has no effect, so it is repeated when there is
//! space. Until then the server makes no promise that needs a write.

use crate::api::entry::Payload;
use crate::api::event::Event;
use crate::api::types::Instant;
use crate::raft::Raft;
use crate::raft::role::RoleState;

impl Raft {
    /// Input: the disk is full, or has space again. A repeated call has no effect.
    ///
    /// The caller keeps the writes that it has received, and later ones, until there is space. Then
    /// it executes them in order. The caller must be certain that none of these writes has started:
    /// a write that failed halfway is a [storage failure](Self::storage_failed).
    ///
    /// A leader with a full disk rejects commands and continues to serve reads. It appends an empty
    /// entry to detect whether other servers have space. If a quorum commits that entry, the leader
    /// transfers its leadership. Otherwise it continues to lead, because no other server could be
    /// elected. A follower with a full disk does not campaign, grants no vote, and acknowledges no
    /// entry.
    pub fn set_disk_full(&mut self, full: bool, now: Instant) {
        if self.has_stopped(now) || self.volatile.disk_is_full == full {
            return;
        }
        self.volatile.disk_is_full = full;
        self.emit(|| Event::DiskFull { full });
        if !full {
            self.writes.restart_stall_clock(now);
        }
        if full && matches!(self.role, RoleState::Leader(_)) {
            self.append(Payload::Noop);
        }
    }

    /// Transfers the leadership if the disk is full and the others have committed more than this
    /// disk has. Called once per heartbeat interval.
    pub(super) fn transfer_if_disk_full(&mut self) {
        let durable = self.persistent.log.durable();
        if !self.volatile.disk_is_full || self.volatile.commit_index <= durable {
            return;
        }
        // A transfer may already be in progress, or no other server can lead. Neither is an error
        // here.
        let _ = self.transfer_leadership(None, self.volatile.now);
    }
}
