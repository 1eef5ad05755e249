//! Snapshots of the state machine: taking, sending and installing.

use bytes::{Buf, BufMut, Bytes};
use raft_core::{
    LogId, LogIndex, Snapshot, SnapshotChunk, SnapshotChunkRequest, SnapshotInstall,
    SnapshotInstalled,
};
use raft_kv::Kv;

use crate::node::kv_store::SharedStore;
use crate::node::{Node, Running};
use crate::util::trace_hash::TraceHash;

/// A snapshot whose write to the disk is pending.
///
/// A clone of the world clones the token too, and each copy of the world installs its own snapshot
/// once.
#[derive(Clone, Debug)]
pub(crate) struct Installing {
    snapshot: Snapshot,
    data: Bytes,
    kv: Kv<SharedStore>,
    token: SnapshotInstalled,
}

impl Node {
    /// Takes a snapshot if the server has applied `every` entries since the last one. The log keeps
    /// `retain` entries before the end of the snapshot. Returns true if a snapshot was taken.
    pub(crate) fn take_snapshot(
        &mut self,
        now: u64,
        every: u64,
        retain: u64,
        is_witness: bool,
    ) -> bool {
        let last = self.disk.snapshot.as_ref().map(|(snapshot, _)| snapshot.last.index);
        let Some(running) = self.running() else {
            return false;
        };
        // A witness applies nothing. Its delivered index is what it has committed.
        let applied = running.raft.delivered_index();
        if applied - last.unwrap_or_default() < every || self.disk.full {
            return false;
        }
        let data = if is_witness { Bytes::new() } else { encode(running.kv.store()) };
        let Some(term) = running.raft.term_at(applied) else {
            return false;
        };
        let snapshot = Snapshot {
            last: LogId::new(term, applied),
            membership: running.raft.membership_at(applied).clone(),
            identity: identity(&data),
            size: data.len() as u64,
        };
        let kv = running.kv.clone();
        self.kv_on_disk = kv;
        let earlier = self.disk.snapshot.replace((snapshot.clone(), data));
        let retain_after = LogIndex(applied.0.saturating_sub(retain));
        if let Some((running, local)) = self.awake_mut(now) {
            running.raft.report_snapshot(snapshot, retain_after, local);
            running.keep_sent_snapshots(earlier);
        }
        true
    }

    /// Gives the server a chunk of a snapshot that it sends to a follower.
    pub(crate) fn provide_snapshot_chunk(&mut self, now: u64, request: SnapshotChunkRequest) {
        let sent = self.running().into_iter().flat_map(|running| &running.sent_snapshots);
        let mut stored = self.disk.snapshot.iter().chain(sent);
        let Some((_, data)) = stored.find(|(snapshot, _)| *snapshot == request.snapshot) else {
            return;
        };
        let begin = request.offset as usize;
        let chunk = data.slice(begin..begin + request.bytes);
        if let Some((running, local)) = self.awake_mut(now) {
            running.raft.provide_snapshot_chunk(request, chunk, local);
        }
    }

    /// Checks a complete snapshot and starts to write it to the disk.
    pub(crate) fn start_install(&mut self, now: u64, install: SnapshotInstall, is_witness: bool) {
        let Some((running, local)) = self.awake_mut(now) else {
            return;
        };
        let data = Bytes::from(std::mem::take(&mut running.arriving));
        let snapshot = install.snapshot().clone();
        let kv = if is_witness {
            Some(running.kv.clone())
        } else {
            decode(data.clone()).filter(|_| identity(&data) == snapshot.identity)
        };
        match kv {
            Some(kv) => {
                let token = install.installed();
                running.installing = Some(Installing { snapshot, data, kv, token });
            }
            None => running.raft.snapshot_damaged(install, local),
        }
    }

    /// Replaces the state machine by a snapshot that is durable now. Returns the last index of the
    /// snapshot and the fingerprint of its state. None if the disk is full; the installation is
    /// then tried again when the disk has space.
    pub(crate) fn finish_install(&mut self, now: u64) -> Option<(LogIndex, u64)> {
        if self.disk.full {
            return None;
        }
        let installing = self.running_mut()?.installing.take()?;
        let Installing { snapshot, data, kv, token } = installing;
        let installed = (snapshot.last.index, kv.fingerprint());
        let earlier = self.disk.snapshot.replace((snapshot, data));
        self.kv_on_disk = kv.clone();
        if let Some((running, local)) = self.awake_mut(now) {
            running.kv = kv;
            // The server never learns the outcomes of proposals that the snapshot contains.
            running.proposals.retain(|index, _| *index > installed.0);
            running.raft.snapshot_installed(token, local);
            running.keep_sent_snapshots(earlier);
        }
        Some(installed)
    }
}

impl Running {
    /// Appends a chunk to the snapshot that arrives.
    pub(crate) fn receive_snapshot_chunk(&mut self, chunk: &SnapshotChunk) {
        self.arriving.truncate(chunk.offset as usize);
        self.arriving.extend_from_slice(&chunk.data);
    }

    /// Removes the earlier snapshots of this server, except those that followers still receive.
    fn keep_sent_snapshots(&mut self, earlier: Option<(Snapshot, Bytes)>) {
        self.sent_snapshots.extend(earlier);
        self.sent_snapshots.retain(|(snapshot, _)| self.raft.needs_snapshot(snapshot));
    }
}

fn identity(data: &[u8]) -> u64 {
    use std::hash::Hasher;
    let mut hasher = TraceHash::new();
    hasher.write(data);
    hasher.finish()
}

/// Encodes each key and each value with its length.
fn encode(store: &SharedStore) -> Bytes {
    let mut data = Vec::new();
    for (key, value) in store.iter() {
        for part in [key, value] {
            data.put_u32(part.len() as u32);
            data.put_slice(part);
        }
    }
    data.into()
}

fn decode(mut data: Bytes) -> Option<Kv<SharedStore>> {
    let part = |data: &mut Bytes| {
        let length = data.try_get_u32().ok()? as usize;
        (length <= data.len()).then(|| data.split_to(length))
    };
    let mut pairs = Vec::new();
    while !data.is_empty() {
        pairs.push((part(&mut data)?, part(&mut data)?));
    }
    Kv::open(pairs.into_iter().collect()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_machine_roundtrips_through_snapshot() {
        let mut kv = Kv::open(SharedStore::default()).unwrap();
        let put = raft_kv::Command::new(raft_kv::Put::new("key", "value"));
        kv.apply(raft_kv::Entry::command(1, 1, put.encode())).unwrap();
        let data = encode(kv.store());
        assert_eq!(decode(data.clone()), Some(kv));
        assert_eq!(decode(data.slice(..data.len() - 1)), None);
    }
}
