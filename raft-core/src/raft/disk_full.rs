//! A disk without room. A write that finds none has not begun, so nothing is in doubt: it waits,
//! and is done when there is room again. In the meantime this server promises nothing that would
//! have to be written.

use crate::api::entry::Payload;
use crate::api::event::Event;
use crate::api::types::Instant;
use crate::raft::{Raft, RoleState};

impl Raft {
    /// Tells whether the disk has no room for more. Saying it again changes nothing.
    ///
    /// The caller keeps the writes that it has been handed, and those that follow, until there is
    /// room, and does them in order. It must be certain that none of them has begun: a write that
    /// failed halfway is a [failed storage](Self::storage_failed).
    ///
    /// A leader takes no commands then, and serves reads. It appends an empty entry to find out
    /// whether the others have room: if they commit it, it hands over to one of them, and otherwise
    /// it stays, because nobody else could be elected. A follower does not stand, does not vote and
    /// acknowledges nothing.
    pub fn set_disk_full(&mut self, full: bool, now: Instant) {
        if self.start_input(now) || self.disk_is_full == full {
            return;
        }
        self.disk_is_full = full;
        self.emit(|| Event::DiskFull { full });
        if !full {
            self.durability.restart_stall_clock(now);
        }
        if full && matches!(self.role, RoleState::Leader(_)) {
            self.append(Payload::Noop);
        }
    }

    /// A heartbeat interval has passed: a leader without room looks whether the others have some.
    pub(crate) fn transfer_if_disk_full(&mut self) {
        if !self.disk_is_full || self.commit_index <= self.log.durable() {
            return;
        }
        // That a transfer is running already, or that no other server can lead, is not an error
        // here.
        let _ = self.transfer_leadership(None, self.now);
    }
}
