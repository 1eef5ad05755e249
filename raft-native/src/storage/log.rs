//! The log on the disk.

use bytes::Bytes;
use fjall::{Keyspace, OwnedWriteBatch};
use prost::Message;
use raft_core::{Entry, LogId, LogIndex, RestoredState, Term};

use super::StorageError;
use crate::config::address::Address;
use crate::storage::codec::{Members, Parts};

/// The durable log: a record for each position. A record says whose it is and where it belongs, so
/// that one that got into the wrong place is recognized like one whose bytes changed.
#[derive(Clone)]
pub(crate) struct LogStore {
    keyspace: Keyspace,
    /// Part of every checksum.
    owner: u64,
}

/// The log holds something that was never written to it, or lacks something that was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("entry {index}: {reason}")]
pub(crate) struct DamagedEntry {
    index: u64,
    reason: String,
}

#[derive(Clone, PartialEq, Message)]
struct EntryRecord {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(bytes = "bytes", optional, tag = "2")]
    command: Option<Bytes>,
    #[prost(fixed32, tag = "3")]
    checksum: u32,
    #[prost(message, optional, tag = "4")]
    members: Option<Members>,
    #[prost(bool, tag = "5")]
    withheld: bool,
}

impl LogStore {
    pub(crate) fn new(keyspace: Keyspace, owner: &Address) -> Self {
        Self { keyspace, owner: owner.node_id().0 }
    }

    /// Adds entries to a batch. They replace the log from the first of them on; `last` is the
    /// position at which the log ended before.
    pub(crate) fn stage(&self, batch: &mut OwnedWriteBatch, entries: &[Entry], last: LogIndex) {
        for entry in entries {
            let parts = Parts::from(&entry.payload);
            let record = EntryRecord {
                term: entry.id.term.0,
                checksum: self.checksum(entry.id, &parts),
                command: parts.command,
                members: parts.members,
                withheld: parts.withheld,
            };
            batch.insert(&self.keyspace, key(entry.id.index), record.encode_to_vec());
        }
        if let Some(new_last) = entries.last() {
            for index in new_last.id.index.0 + 1..=last.0 {
                batch.remove(&self.keyspace, key(LogIndex(index)));
            }
        }
    }

    /// Reads entries, up to `bytes_max` but at least one.
    pub(crate) fn read(
        &self,
        from: LogIndex,
        through: LogIndex,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, DamagedEntry> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        let mut expected = from;
        for guard in self.keyspace.range(key(from)..=key(through)) {
            let entry = self.decode(guard, expected)?;
            bytes += entry.bytes();
            if !entries.is_empty() && bytes > bytes_max {
                break;
            }
            entries.push(entry);
            expected = expected.next();
        }
        Ok(entries)
    }

    /// Feeds the whole log to a server that starts.
    pub(crate) fn restore(&self, restored: &mut RestoredState) -> Result<LogIndex, DamagedEntry> {
        let mut last = LogIndex(0);
        for guard in self.keyspace.iter() {
            let entry = self.decode(guard, last.next())?;
            last = entry.id.index;
            restored
                .push(entry)
                .map_err(|error| DamagedEntry { index: last.0, reason: error.to_string() })?;
        }
        Ok(last)
    }

    fn decode(&self, guard: fjall::Guard, expected: LogIndex) -> Result<Entry, DamagedEntry> {
        let damaged = |reason: String| DamagedEntry { index: expected.0, reason };
        let (found, bytes) =
            guard.into_inner().map_err(|error| damaged(StorageError::from(error).to_string()))?;
        if found[..] != key(expected) {
            return Err(damaged("it is missing".into()));
        }
        let record =
            EntryRecord::decode(Bytes::from(bytes)).map_err(|error| damaged(error.to_string()))?;
        let id = LogId::new(Term(record.term), expected);
        let parts =
            Parts { command: record.command, members: record.members, withheld: record.withheld };
        if record.checksum != self.checksum(id, &parts) {
            return Err(damaged("its checksum does not fit".into()));
        }
        Ok(Entry { id, payload: parts.into() })
    }

    fn checksum(&self, id: LogId, parts: &Parts) -> u32 {
        let members = parts.members.as_ref().map(Message::encode_to_vec);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(&self.owner.to_le_bytes());
        hasher.update(&id.index.0.to_le_bytes());
        hasher.update(&id.term.0.to_le_bytes());
        hasher.update(&[
            u8::from(parts.command.is_some()),
            u8::from(members.is_some()),
            u8::from(parts.withheld),
        ]);
        hasher.update(parts.command.as_deref().unwrap_or_default());
        hasher.update(&members.unwrap_or_default());
        hasher.finalize()
    }
}

fn key(index: LogIndex) -> [u8; 8] {
    index.0.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use fjall::{Database, KeyspaceCreateOptions};
    use raft_core::{HardState, Membership, NodeId, Payload};

    use super::*;

    fn entry(term: u64, index: u64) -> Entry {
        let payload = Payload::Command(Bytes::from(format!("{term}/{index}")));
        Entry { id: LogId::new(Term(term), LogIndex(index)), payload }
    }

    fn open(path: &std::path::Path) -> (Database, LogStore) {
        let database = Database::builder(path).open().unwrap();
        let keyspace = database.keyspace("log", KeyspaceCreateOptions::default).unwrap();
        (database, LogStore::new(keyspace, &Address::new("localhost", 1)))
    }

    fn write(database: &Database, log: &LogStore, entries: &[Entry], last: u64) {
        let mut batch = database.batch();
        log.stage(&mut batch, entries, LogIndex(last));
        batch.commit().unwrap();
    }

    fn restore(log: &LogStore) -> Result<LogIndex, DamagedEntry> {
        let membership = Membership::new([NodeId(1)]);
        let hard_state = HardState { term: Term(9), vote: None };
        log.restore(&mut RestoredState::new(1, membership, hard_state, LogIndex(0), 0))
    }

    #[test]
    fn log_reopens_and_truncates() {
        let directory = tempfile::tempdir().unwrap();
        let (database, log) = open(directory.path());
        write(&database, &log, &[entry(1, 1), entry(1, 2), entry(1, 3)], 0);
        write(&database, &log, &[entry(2, 2)], 3);
        drop((database, log));
        let (_database, log) = open(directory.path());
        assert_eq!(restore(&log), Ok(LogIndex(2)));
        let read = log.read(LogIndex(1), LogIndex(9), usize::MAX).unwrap();
        assert_eq!(read, [entry(1, 1), entry(2, 2)]);
        assert_eq!(log.read(LogIndex(1), LogIndex(9), 1).unwrap(), [entry(1, 1)]);
    }

    #[test]
    fn damaged_record_is_detected() {
        let directory = tempfile::tempdir().unwrap();
        let (database, log) = open(directory.path());
        write(&database, &log, &[entry(1, 1), entry(1, 2), entry(1, 3)], 0);
        let good = log.keyspace.get(key(LogIndex(2))).unwrap().unwrap();
        // Whatever single byte changes; records with an unknown field added stay readable.
        for position in 0..good.len() {
            let mut bytes = good.to_vec();
            bytes[position] ^= 0x10;
            log.keyspace.insert(key(LogIndex(2)), bytes).unwrap();
            let error = restore(&log).expect_err("the damage must be seen");
            assert_eq!(error.index, 2, "byte {position}");
        }
        // A record of another position.
        let other = log.keyspace.get(key(LogIndex(3))).unwrap().unwrap();
        log.keyspace.insert(key(LogIndex(2)), other).unwrap();
        assert_eq!(restore(&log).unwrap_err().index, 2);
        // A missing record.
        log.keyspace.remove(key(LogIndex(2))).unwrap();
        assert_eq!(restore(&log).unwrap_err().index, 2);
        log.keyspace.insert(key(LogIndex(2)), good).unwrap();
        assert_eq!(restore(&log), Ok(LogIndex(3)));
    }

    #[test]
    fn foreign_log_is_detected() {
        let directory = tempfile::tempdir().unwrap();
        let (database, log) = open(directory.path());
        write(&database, &log, &[entry(1, 1)], 0);
        let other = LogStore::new(log.keyspace.clone(), &Address::new("localhost", 2));
        assert_eq!(restore(&other).unwrap_err().index, 1);
    }
}
