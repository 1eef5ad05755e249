//! A journal on disk: one file, to which each write is appended as one record, and synced.
//!
//! A record consists of a head and its content: the changed hard state, and entries that replace
//! the log from the first of them on. The head contains the length and a checksum of the content.
//! It also contains a checksum of itself and of its position in the file. A wrong length is
//! therefore detected, and later records can be found without it.
//!
//! A power failure can tear only the last record, because the next one starts after its sync. A
//! torn record was never acknowledged, and is cut off. With one sync for several writes, they would
//! have to be one record. A record that cannot be read and is followed by another one is damaged,
//! which is an error. Damage of the last record after its sync looks like a torn record: a single
//! file cannot distinguish them.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write as _};
use std::path::Path;

use bytes::{Buf, BufMut, Bytes};
use raft_core::{Entry, HardState, LogId, LogIndex, Membership, NodeId, Payload, Term, Write};

/// The size of a head: the length of the content, its checksum, and the checksum of the head.
const HEAD: usize = 4 + 8 + 8;

pub struct Journal {
    file: File,
    /// The position of the next record.
    end: u64,
    /// The log in the file, for [`Journal::read`]. A journal of a large log would read the file.
    log: Vec<Entry>,
}

impl Journal {
    /// Opens or creates a journal, and returns its content.
    pub fn open(path: &Path) -> io::Result<(Self, HardState, Vec<Entry>)> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        // The name of the file must survive a power failure.
        let directory = path.parent().filter(|parent| *parent != Path::new(""));
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let (mut hard_state, mut log) = (HardState::default(), Vec::new());
        let bytes = Bytes::from(bytes);
        let mut valid = 0;
        while let Some(mut record) = record_at(&bytes, valid)? {
            valid += HEAD + record.len();
            let (changed, entries) = read_record(&mut record).ok_or_else(damaged)?;
            hard_state = changed.unwrap_or(hard_state);
            replace(&mut log, entries);
        }
        // The rest is torn. It is removed durably before the next record is written.
        let end = valid as u64;
        file.set_len(end)?;
        file.seek(io::SeekFrom::Start(end))?;
        file.sync_all()?;
        let journal = Self { file, end, log: log.clone() };
        Ok((journal, hard_state, log))
    }

    /// Makes a write durable. After an error the content of the disk is unknown, and this journal
    /// must not be used again.
    pub fn write(&mut self, write: &Write) -> io::Result<()> {
        if write.log_start().is_some() {
            return Err(io::Error::other("unsupported log start: this journal has no snapshots"));
        }
        let mut body = Vec::new();
        put_hard_state(&mut body, write.hard_state());
        body.put_u32_le(write.entries().len() as u32);
        for entry in write.entries() {
            put_entry(&mut body, entry)?;
        }
        let record = record_of(&body, self.end)?;
        self.file.write_all(&record)?;
        self.file.sync_data()?;
        self.end += record.len() as u64;
        replace(&mut self.log, write.entries().to_vec());
        Ok(())
    }

    /// At least one entry of the log, and as many as fit.
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

/// Replaces the entries of the log from the first new entry on.
fn replace(log: &mut Vec<Entry>, entries: Vec<Entry>) {
    if let Some(first) = entries.first() {
        log.truncate(first.id.index.previous().0 as usize);
    }
    log.extend(entries);
}

/// A record with this content, which starts at `place`.
fn record_of(body: &[u8], place: u64) -> io::Result<Vec<u8>> {
    let mut record = Vec::with_capacity(HEAD + body.len());
    record.put_u32_le(u32::try_from(body.len()).map_err(io::Error::other)?);
    record.put_u64_le(checksum(body));
    let of_head = checksum_of_head(&record, place);
    record.put_u64_le(of_head);
    record.extend_from_slice(body);
    Ok(record)
}

/// The content of the record at `place`; `None` if it is torn.
fn record_at(file: &Bytes, place: usize) -> io::Result<Option<Bytes>> {
    // A record that is followed by another one was synced, so it was complete.
    let torn = || match (place + 1..file.len()).any(|later| head_at(file, later).is_some()) {
        false => Ok(None),
        true => Err(damaged()),
    };
    let Some((length, expected)) = head_at(file, place) else {
        return torn();
    };
    let rest = file.slice(place + HEAD..);
    if rest.len() < length || checksum(&rest[..length]) != expected {
        return torn();
    }
    Ok(Some(rest.slice(..length)))
}

/// The length and the checksum of the content of the record at `place`, if a record starts there.
fn head_at(file: &[u8], place: usize) -> Option<(usize, u64)> {
    let (mut head, mut of_head) = file.get(place..)?.get(..HEAD)?.split_at(HEAD - 8);
    if checksum_of_head(head, place as u64) != of_head.get_u64_le() {
        return None;
    }
    Some((head.get_u32_le() as usize, head.get_u64_le()))
}

/// The checksum of a head includes its position, so the bytes of a command are never a head.
fn checksum_of_head(head: &[u8], place: u64) -> u64 {
    checksum(&[head, &place.to_le_bytes()].concat())
}

fn damaged() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "the journal is damaged; add this server again under a new id",
    )
}

/// The FNV-1a hash. A real journal would use a CRC.
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
            put_nodes(body, membership.auto_promoted());
            put_nodes(body, membership.witnesses());
        }
        Payload::Stripped => body.put_u8(3),
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
            let membership = membership.with_auto_promoted(read_nodes(body)?);
            Payload::Membership(Box::new(membership.with_witnesses(read_nodes(body)?)))
        }
        3 => Payload::Stripped,
        _ => return None,
    };
    Some(Entry { id, payload })
}

fn read_nodes(body: &mut Bytes) -> Option<Vec<NodeId>> {
    let count = body.try_get_u32_le().ok()?;
    (0..count).map(|_| body.try_get_u64_le().ok().map(NodeId)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("raft-core-journal-{name}-{}", std::process::id()))
    }

    fn record(place: usize, term: u64, first: u64, commands: &[&'static str]) -> Vec<u8> {
        let mut body = Vec::new();
        put_hard_state(&mut body, Some(HardState { term: Term(term), vote: Some(NodeId(2)) }));
        body.put_u32_le(commands.len() as u32);
        for (index, command) in (first..).zip(commands) {
            let id = LogId::new(Term(term), LogIndex(index));
            let payload = Payload::Command(Bytes::from_static(command.as_bytes()));
            put_entry(&mut body, &Entry { id, payload }).unwrap();
        }
        record_of(&body, place as u64).unwrap()
    }

    fn terms(path: &Path) -> io::Result<Vec<u64>> {
        let (_, _, log) = Journal::open(path)?;
        Ok(log.iter().map(|entry| entry.id.term.0).collect())
    }

    /// Three records, and the start of each.
    fn records() -> (Vec<u8>, [usize; 3]) {
        let mut bytes = Vec::new();
        let contents = [(1, 1, &["a", "b"][..]), (2, 3, &[]), (3, 2, &["c"])];
        let starts = contents.map(|(term, first, commands)| {
            let start = bytes.len();
            bytes.extend(record(start, term, first, commands));
            start
        });
        (bytes, starts)
    }

    /// All lengths to which a power failure can cut the file.
    #[test]
    fn torn_record_is_truncated() {
        let path = path("torn");
        let (whole, [_, _, last]) = records();
        for length in last..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            let (_, state, _) = Journal::open(&path).unwrap();
            assert_eq!((state.term, terms(&path).unwrap()), (Term(2), vec![1, 1]));
            assert_eq!(std::fs::metadata(&path).unwrap().len(), last as u64);
        }
        // A file may have grown before its content was written, and contain zeros there.
        std::fs::write(&path, [&whole[..last], &[0; 4096]].concat()).unwrap();
        assert_eq!(terms(&path).unwrap(), [1, 1]);
        std::fs::write(&path, &whole).unwrap();
        let (_, state, _) = Journal::open(&path).unwrap();
        assert_eq!((state.term, terms(&path).unwrap()), (Term(3), vec![1, 3]));
        std::fs::remove_file(&path).unwrap();
    }

    /// All single-bit errors. An error in the last record looks like a torn record.
    #[test]
    fn corruption_before_last_record_is_an_error() {
        let path = path("damaged");
        let (whole, [_, _, last]) = records();
        for (byte, bit) in (0..whole.len()).flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
            let mut bytes = whole.clone();
            bytes[byte] ^= 1 << bit;
            std::fs::write(&path, &bytes).unwrap();
            match terms(&path) {
                Ok(terms) => assert!(
                    byte >= last && terms == [1, 1],
                    "bit {bit} of byte {byte}: {terms:?} remains"
                ),
                Err(_) => {
                    assert!(byte < last, "bit {bit} of byte {byte} is an error");
                    // The file is unchanged, for analysis.
                    assert_eq!(std::fs::read(&path).unwrap(), bytes);
                }
            }
        }
        // The damage is also detected if the last record is torn, as long as its head is complete.
        for byte in 0..last {
            let mut bytes = whole[..last + HEAD].to_vec();
            bytes[byte] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert!(terms(&path).is_err(), "byte {byte}");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
