//! A log on disk: one file, to which each write is appended as one record, and synced.
//!
//! A record is its length, a checksum and its contents: what changed of the hard state, and entries that replace the log from the
//! first of them on. Only the last record can be torn by a loss of power, because the next one begins when it is synced;
//! a torn one was never acknowledged, and is cut off. Anything else that cannot be read is damage, and an error.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write as _};
use std::path::Path;

use bytes::{Buf, BufMut, Bytes};
use raft_core::{Entry, HardState, LogId, LogIndex, Membership, NodeId, Payload, Term, Write};

/// Length and checksum.
const HEAD: usize = 4 + 8;

pub struct Journal {
    file: File,
    /// The log as the file has it, for [`Journal::read`]; one with a large log would read the file instead.
    log: Vec<Entry>,
}

impl Journal {
    /// Opens a journal, or begins one; what it holds.
    pub fn open(path: &Path) -> io::Result<(Self, HardState, Vec<Entry>)> {
        let mut options = OpenOptions::new();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        // The file's name must survive, too.
        let directory = path.parent().filter(|parent| *parent != Path::new(""));
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (mut hard_state, mut log) = (HardState::default(), Vec::new());
        let mut rest = Bytes::from(bytes);
        let mut valid = 0;
        while let Some(mut record) = next_record(&mut rest)? {
            valid += (HEAD + record.len()) as u64;
            let (changed, entries) = read_record(&mut record).ok_or_else(damaged)?;
            hard_state = changed.unwrap_or(hard_state);
            replace(&mut log, entries);
        }
        // What follows is torn. It goes for good before anything is written behind it.
        file.set_len(valid)?;
        file.seek(io::SeekFrom::Start(valid))?;
        file.sync_all()?;
        let journal = Self {
            file,
            log: log.clone(),
        };
        Ok((journal, hard_state, log))
    }

    /// Makes a write durable. After an error nobody knows what is on the disk, and this journal must not be used again.
    pub fn write(&mut self, write: &Write) -> io::Result<()> {
        if write.log_start().is_some() {
            return Err(io::Error::other(
                "without snapshots, a log begins at its beginning",
            ));
        }
        let mut body = Vec::new();
        put_hard_state(&mut body, write.hard_state());
        body.put_u32_le(write.entries().len() as u32);
        for entry in write.entries() {
            put_entry(&mut body, entry)?;
        }
        let mut record = Vec::with_capacity(HEAD + body.len());
        record.put_u32_le(u32::try_from(body.len()).map_err(io::Error::other)?);
        record.put_u64_le(checksum(&body));
        record.extend_from_slice(&body);
        self.file.write_all(&record)?;
        self.file.sync_data()?;
        replace(&mut self.log, write.entries().to_vec());
        Ok(())
    }

    /// Entries of the log, at least one, and no more than fit.
    pub fn read(
        &self,
        from: LogIndex,
        through: LogIndex,
        bytes_max: usize,
    ) -> io::Result<Vec<Entry>> {
        let (first, last) = (from.previous().0 as usize, through.0 as usize);
        let wanted = self.log.get(first..last).ok_or_else(damaged)?;
        let mut bytes = 0;
        let fitting = wanted.iter().take_while(|entry| {
            bytes += entry.bytes();
            bytes <= bytes_max || entry.id.index == from
        });
        Ok(fitting.cloned().collect())
    }
}

/// New entries take the place of what is there from the first of them on.
fn replace(log: &mut Vec<Entry>, entries: Vec<Entry>) {
    if let Some(first) = entries.first() {
        log.truncate(first.id.index.previous().0 as usize);
    }
    log.extend(entries);
}

/// The contents of the next record, or none if it was not written whole.
fn next_record(rest: &mut Bytes) -> io::Result<Option<Bytes>> {
    let mut head = rest.clone();
    let (Ok(length), Ok(expected)) = (head.try_get_u32_le(), head.try_get_u64_le()) else {
        return Ok(None);
    };
    let length = length as usize;
    // A file may have grown before its contents came, and be zeros there; no record is empty.
    let is_blank = length == 0 && rest.iter().all(|byte| *byte == 0);
    if is_blank || head.len() < length {
        return Ok(None);
    }
    let body = head.split_to(length);
    if checksum(&body) != expected {
        // With something behind it, it was synced once, so it was whole.
        return if head.is_empty() {
            Ok(None)
        } else {
            Err(damaged())
        };
    }
    *rest = head;
    Ok(Some(body))
}

fn damaged() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the journal is damaged: this server must not start with what is left of it",
    )
}

/// FNV-1a; a real journal would use a CRC.
fn checksum(bytes: &[u8]) -> u64 {
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

fn put_hard_state(body: &mut Vec<u8>, hard_state: Option<HardState>) {
    body.put_u8(u8::from(hard_state.is_some()));
    if let Some(HardState { term, vote }) = hard_state {
        body.put_u64_le(term.0);
        put_nodes(body, vote.as_slice());
    }
}

fn put_entry(body: &mut Vec<u8>, entry: &Entry) -> io::Result<()> {
    body.put_u64_le(entry.id.term.0);
    body.put_u64_le(entry.id.index.0);
    match &entry.payload {
        Payload::Noop => body.put_u8(0),
        Payload::Command(command) => {
            body.put_u8(1);
            body.put_u32_le(u32::try_from(command.len()).map_err(io::Error::other)?);
            body.extend_from_slice(command);
        }
        Payload::Membership(membership) => {
            body.put_u8(2);
            put_nodes(body, membership.voters());
            put_nodes(body, membership.outgoing());
            put_nodes(body, membership.learners());
            put_nodes(body, membership.joining());
            put_nodes(body, membership.witnesses());
        }
        Payload::Withheld => body.put_u8(3),
    }
    Ok(())
}

fn put_nodes(body: &mut Vec<u8>, nodes: &[NodeId]) {
    body.put_u32_le(nodes.len() as u32);
    for node in nodes {
        body.put_u64_le(node.0);
    }
}

fn read_record(body: &mut Bytes) -> Option<(Option<HardState>, Vec<Entry>)> {
    let hard_state = match body.try_get_u8().ok()? {
        0 => None,
        _ => Some(HardState {
            term: Term(body.try_get_u64_le().ok()?),
            vote: read_nodes(body)?.first().copied(),
        }),
    };
    let count = body.try_get_u32_le().ok()?;
    let entries: Option<Vec<_>> = (0..count).map(|_| read_entry(body)).collect();
    Some((hard_state, entries?))
}

fn read_entry(body: &mut Bytes) -> Option<Entry> {
    let term = Term(body.try_get_u64_le().ok()?);
    let id = LogId::new(term, LogIndex(body.try_get_u64_le().ok()?));
    let payload = match body.try_get_u8().ok()? {
        0 => Payload::Noop,
        1 => {
            let length = body.try_get_u32_le().ok()? as usize;
            Payload::Command((length <= body.len()).then(|| body.split_to(length))?)
        }
        2 => {
            let membership = Membership::new(read_nodes(body)?).with_outgoing(read_nodes(body)?);
            let membership = membership.with_learners(read_nodes(body)?);
            let membership = membership.with_joining(read_nodes(body)?);
            Payload::Membership(Box::new(membership.with_witnesses(read_nodes(body)?)))
        }
        3 => Payload::Withheld,
        _ => return None,
    };
    Some(Entry { id, payload })
}

fn read_nodes(body: &mut Bytes) -> Option<Vec<NodeId>> {
    let count = body.try_get_u32_le().ok()?;
    (0..count)
        .map(|_| body.try_get_u64_le().ok().map(NodeId))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("raft-core-journal-{name}-{}", std::process::id()))
    }

    fn record(term: u64, first: u64, commands: &[&'static str]) -> Vec<u8> {
        let mut body = Vec::new();
        put_hard_state(
            &mut body,
            Some(HardState {
                term: Term(term),
                vote: Some(NodeId(2)),
            }),
        );
        body.put_u32_le(commands.len() as u32);
        for (index, command) in (first..).zip(commands) {
            let id = LogId::new(Term(term), LogIndex(index));
            let payload = Payload::Command(Bytes::from_static(command.as_bytes()));
            put_entry(&mut body, &Entry { id, payload }).unwrap();
        }
        let mut record = Vec::new();
        record.put_u32_le(body.len() as u32);
        record.put_u64_le(checksum(&body));
        record.extend_from_slice(&body);
        record
    }

    /// Every length to which a loss of power can cut the file, and every byte of the last record that can be wrong.
    #[test]
    fn a_torn_record_is_cut_off_and_what_is_before_it_stays() {
        let path = path("torn");
        let (first, second) = (record(1, 1, &["a", "b"]), record(2, 2, &["c"]));
        let whole = [first.clone(), second.clone()].concat();
        let terms = |log: &[Entry]| log.iter().map(|entry| entry.id.term.0).collect::<Vec<_>>();
        for length in first.len()..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let (_, state, log) = Journal::open(&path).unwrap();
            assert_eq!((state.term, terms(&log)), (Term(1), vec![1, 1]));
            assert_eq!(std::fs::metadata(&path).unwrap().len(), first.len() as u64);
        }
        for wrong in first.len() + 4..whole.len() {
            let mut bytes = whole.clone();
            bytes[wrong] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(terms(&Journal::open(&path).unwrap().2), [1, 1]);
        }
        std::fs::write(&path, [&first[..], &[0; 4096]].concat()).unwrap();
        assert_eq!(terms(&Journal::open(&path).unwrap().2), [1, 1]);
        std::fs::write(&path, &whole).unwrap();
        let (_, state, log) = Journal::open(&path).unwrap();
        assert_eq!((state.term, terms(&log)), (Term(2), vec![1, 2]));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn damage_before_the_end_is_an_error() {
        let path = path("damaged");
        let (first, second) = (record(1, 1, &["a"]), record(2, 2, &["c"]));
        for wrong in 4..first.len() {
            let mut bytes = [first.clone(), second.clone()].concat();
            bytes[wrong] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            assert!(Journal::open(&path).is_err());
        }
        std::fs::remove_file(&path).unwrap();
    }
}
