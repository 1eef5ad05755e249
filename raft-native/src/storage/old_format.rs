//! Directories of the release before, which kept everything in a database of fjall.
//!
//! A conversion reads the old files and writes new ones beside them. The old files are removed when
//! the new ones are complete.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};
use prost::Message;
use raft_core::{Entry, HardState, LogId, LogIndex, Membership, NodeId, Payload, Term};
use raft_kv::{Batch, Store as _};
use raft_storage::files::Files;
use raft_storage::{Log, StateOptions, StateStore};

use super::{Owner, SEGMENT_BYTES, StorageError, exists};
use crate::config::NodeConfig;
use crate::storage::OpenError;

const DATABASE: &str = "data";
const MARK: &str = "mark";
const OWNER: &[u8] = b"identity";
const HARD_STATE: &[u8] = b"hard-state";
/// The format of the old directories.
const FORMAT: u32 = 1;
/// Bytes that are converted at once.
const CHUNK_BYTES: usize = 4 << 20;

#[derive(Clone, Copy, PartialEq, Message)]
struct HardStateRecord {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, optional, tag = "2")]
    vote: Option<u64>,
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

#[derive(Clone, PartialEq, Eq, Message)]
struct Members {
    #[prost(uint64, repeated, tag = "1")]
    voters: Vec<u64>,
    #[prost(uint64, repeated, tag = "2")]
    outgoing: Vec<u64>,
    #[prost(uint64, repeated, tag = "3")]
    learners: Vec<u64>,
    #[prost(uint64, repeated, tag = "4")]
    auto_promoted: Vec<u64>,
    #[prost(uint64, repeated, tag = "5")]
    witnesses: Vec<u64>,
}

impl EntryRecord {
    fn into_payload(self) -> Payload {
        let nodes = |numbers: Vec<u64>| numbers.into_iter().map(NodeId);
        match (self.command, self.members) {
            (Some(command), _) => Payload::Command(command),
            (None, Some(members)) => {
                let membership = Membership::new(nodes(members.voters))
                    .with_outgoing(nodes(members.outgoing))
                    .with_learners(nodes(members.learners))
                    .with_auto_promoted(nodes(members.auto_promoted))
                    .with_witnesses(nodes(members.witnesses));
                Payload::Membership(Box::new(membership))
            }
            (None, None) if self.withheld => Payload::Stripped,
            (None, None) => Payload::Noop,
        }
    }
}

/// Returns true if a data directory has the old format.
pub(super) fn is_present(path: &Path) -> Result<bool, StorageError> {
    exists(&path.join(DATABASE))
}

/// Removes the old files of a converted directory.
pub(super) fn remove(path: &Path) -> Result<(), StorageError> {
    super::remove(&path.join(DATABASE))?;
    super::remove(&path.join(MARK))
}

/// Converts a data directory to the present format.
pub(super) fn convert(config: &NodeConfig, files: Arc<dyn Files>) -> Result<(), OpenError> {
    let path = &config.data_dir;
    let unusable = |error: StorageError| match error {
        error if error.is_damage() => OpenError::damaged(path, error),
        error => OpenError::Unusable { path: path.clone(), error },
    };
    let old = OldDirectory::open(path).map_err(unusable)?;
    let owner = old.owner(config)?;
    owner.store(&*files).map_err(unusable)?;
    old.convert_log(config, &owner, files.clone()).map_err(unusable)?;
    old.convert_state(&owner, files).map_err(unusable)
}

struct OldDirectory {
    /// Keeps the keyspaces open.
    _database: Database,
    meta: Keyspace,
    log: Keyspace,
    state: Keyspace,
    mark: Option<Mark>,
}

/// The least that the log must contain.
#[derive(Clone, Copy, Default)]
struct Mark {
    last: u64,
    term: u64,
    vote: Option<u64>,
}

impl OldDirectory {
    fn open(path: &Path) -> Result<Self, StorageError> {
        let database = Database::builder(path.join(DATABASE))
            .manual_journal_persist(true)
            .worker_threads(1)
            .open()?;
        let keyspace = |name: &str| database.keyspace(name, KeyspaceCreateOptions::default);
        let (meta, log, state) = (keyspace("meta")?, keyspace("log")?, keyspace("state")?);
        let mark = Mark::read(&path.join(MARK))?;
        Ok(Self { _database: database, meta, log, state, mark })
    }

    /// The owner, if it is this node.
    fn owner(&self, config: &NodeConfig) -> Result<Owner, OpenError> {
        let path = &config.data_dir;
        let unusable = |error: StorageError| OpenError::Unusable { path: path.clone(), error };
        let mut new = Owner::new(config);
        if let Some(bytes) = self.meta.get(OWNER).map_err(|error| unusable(error.into()))? {
            let found =
                Owner::decode(&bytes[..]).map_err(|error| OpenError::damaged(path, error))?;
            if found.format != FORMAT {
                let error = StorageError::LaterFormat { found: found.format, known: FORMAT };
                return Err(unusable(error));
            }
            found.verify(config)?;
            new.boots = found.boots;
        }
        Ok(new)
    }

    fn convert_log(
        &self,
        config: &NodeConfig,
        owner: &Owner,
        files: Arc<dyn Files>,
    ) -> Result<(), StorageError> {
        let hard_state = self.hard_state()?;
        let mut log = Log::open(files, owner.identity(), SEGMENT_BYTES)?;
        log.import(Some(hard_state), &[])?;
        let (mut last, mut entries, mut bytes) = (0, Vec::new(), 0);
        for guard in self.log.iter() {
            last += 1;
            let entry = decode(guard, last, config.advertise.node_id().0)?;
            bytes += entry.bytes();
            entries.push(entry);
            if bytes > CHUNK_BYTES {
                log.import(None, &entries)?;
                (entries, bytes) = (Vec::new(), 0);
            }
        }
        log.import(None, &entries)?;
        let mark = self.mark.unwrap_or_default();
        if last < mark.last {
            return Err(StorageError::damaged(format_args!(
                "the log ends at entry {last} and had reached entry {}",
                mark.last
            )));
        }
        Ok(())
    }

    fn hard_state(&self) -> Result<HardState, StorageError> {
        let record = match self.meta.get(HARD_STATE)? {
            Some(bytes) => HardStateRecord::decode(&bytes[..]).map_err(StorageError::damaged)?,
            None => HardStateRecord::default(),
        };
        let mark = self.mark.unwrap_or_default();
        let lacks_vote =
            record.term == mark.term && mark.vote.is_some() && record.vote != mark.vote;
        if record.term < mark.term || lacks_vote {
            return Err(StorageError::damaged(format_args!(
                "the vote of term {} is missing",
                mark.term
            )));
        }
        Ok(HardState { term: Term(record.term), vote: record.vote.map(NodeId) })
    }

    fn convert_state(&self, owner: &Owner, files: Arc<dyn Files>) -> Result<(), StorageError> {
        let mut store = StateStore::open(files, owner.identity(), StateOptions::default())?;
        let flusher = store.flusher();
        let (mut batch, mut bytes) = (Batch::default(), 0);
        for guard in self.state.iter() {
            let (key, value) = guard.into_inner()?;
            bytes += key.len() + value.len();
            batch.put(key.into(), value.into());
            if bytes > CHUNK_BYTES {
                store.commit(std::mem::take(&mut batch))?;
                bytes = 0;
                store.freeze();
                while flusher.run_once()? {}
            }
        }
        store.commit(batch)?;
        store.freeze();
        while flusher.run_once()? {}
        Ok(())
    }
}

fn decode(guard: fjall::Guard, index: u64, member: u64) -> Result<Entry, StorageError> {
    let (found, bytes) = guard.into_inner()?;
    let damaged = |reason: &str| StorageError::damaged(format_args!("entry {index}: {reason}"));
    if found[..] != index.to_be_bytes() {
        return Err(damaged("it is missing"));
    }
    let record = EntryRecord::decode(Bytes::from(bytes)).map_err(StorageError::damaged)?;
    let checksum = checksum(&record, index, member);
    if record.checksum != checksum {
        return Err(damaged("the checksum does not match"));
    }
    let id = LogId::new(Term(record.term), LogIndex(index));
    Ok(Entry { id, payload: record.into_payload() })
}

fn checksum(record: &EntryRecord, index: u64, member: u64) -> u32 {
    let members = record.members.as_ref().map(Message::encode_to_vec);
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&member.to_le_bytes());
    hasher.update(&index.to_le_bytes());
    hasher.update(&record.term.to_le_bytes());
    hasher.update(&[
        u8::from(record.command.is_some()),
        u8::from(members.is_some()),
        u8::from(record.withheld),
    ]);
    hasher.update(record.command.as_deref().unwrap_or_default());
    hasher.update(&members.unwrap_or_default());
    hasher.finalize()
}

impl Mark {
    /// Reads the mark. A torn mark says nothing.
    fn read(path: &Path) -> Result<Option<Self>, StorageError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StorageError::File { path: path.to_owned(), error }),
        };
        let number = |at: usize| {
            let bytes = bytes.get(at..at + 8)?.first_chunk()?;
            Some(u64::from_le_bytes(*bytes))
        };
        let sum = bytes.get(25..29).and_then(<[u8]>::first_chunk);
        if sum.map(|sum| u32::from_le_bytes(*sum)) != bytes.get(..25).map(crc32fast::hash) {
            return Ok(None);
        }
        let vote = if bytes.get(16) == Some(&1) { number(17) } else { None };
        Ok(number(0).zip(number(8)).map(|(last, term)| Self { last, term, vote }))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use raft_core::RestoredState;
    use raft_kv::Kv;

    use super::*;
    use crate::Address;
    use crate::storage::Storage;

    /// The length of a journal before the zeros at its end were cut off for the repository.
    const JOURNAL_BYTES: u64 = 64 << 20;

    /// A copy of a directory that the release before has written.
    fn fixture(path: &Path) -> NodeConfig {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data-format-1");
        copy(&source, path);
        for keyspace in 0..4 {
            // Git keeps no empty directories.
            fs::create_dir_all(path.join(format!("data/keyspaces/{keyspace}/tables"))).unwrap();
        }
        fs::write(path.join("lock"), "").unwrap();
        fs::write(path.join("data/lock"), "").unwrap();
        let journal = fs::OpenOptions::new().write(true).open(path.join("data/0.jnl")).unwrap();
        journal.set_len(JOURNAL_BYTES).unwrap();
        let peers = [21002, 21003].map(|port| Address::new("localhost", port)).to_vec();
        NodeConfig::new("node1", 21001, peers, path.to_owned())
    }

    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            let target: PathBuf = to.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                copy(&entry.path(), &target);
            } else {
                fs::copy(entry.path(), target).unwrap();
            }
        }
    }

    fn check(config: &NodeConfig, boot: u64) {
        let storage = Storage::open(config).unwrap();
        assert_eq!(storage.boot, boot);
        let hard_state = storage.hard_state();
        assert_eq!(hard_state.term, Term(1));
        assert_eq!(hard_state.vote, Some(config.advertise.node_id()));
        assert_eq!(storage.log.reader().last(), LogId::new(Term(1), LogIndex(23)));
        let kv = Kv::open(storage.state).unwrap();
        assert_eq!((kv.applied_index(), kv.revision()), (23, 23));
        let value = |key: &[u8]| kv.get(key, None).unwrap().map(|pair| pair.value);
        assert_eq!(value(b"key-1"), Some(Bytes::from_static(b"changed")));
        assert_eq!(value(b"key-7"), None);
        assert_eq!(value(b"key-20"), Some(Bytes::from_static(b"value-20")));
        kv.audit().unwrap();
        let membership = Membership::new([NodeId(1)]);
        let mut restored = RestoredState::new(boot, membership, hard_state, LogIndex(23), 0);
        storage.log.replay(&mut restored).unwrap();
    }

    #[test]
    fn directory_of_release_before_is_converted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node1");
        let config = fixture(&path);
        // An interrupted conversion is begun again.
        fs::create_dir_all(path.join("store.unfinished")).unwrap();
        fs::write(path.join("store.unfinished/log-0000000000000001"), "partial").unwrap();
        check(&config, 2);
        for old in ["data", "mark", "store.unfinished"] {
            assert!(!path.join(old).exists(), "{old}");
        }
        check(&config, 3);
    }

    #[test]
    fn directory_of_other_node_is_not_converted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node1");
        let mut config = fixture(&path);
        config.name = "node9".into();
        assert!(matches!(Storage::open(&config), Err(OpenError::OfOtherNode { .. })));
        config.name = "node1".into();
        check(&config, 2);
    }

    #[test]
    fn damage_of_old_directory_is_detected() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node1");
        let config = fixture(&path);
        let journal = path.join("data/0.jnl");
        let mut bytes = fs::read(&journal).unwrap();
        let written = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[written / 2] ^= 1;
        fs::write(&journal, bytes).unwrap();
        assert!(matches!(Storage::open(&config), Err(OpenError::Damaged { .. })));
        assert!(!path.join("store").exists());
    }
}
