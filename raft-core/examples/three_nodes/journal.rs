//! A log on disk: one file, to which each write is appended as one record, and synced.
//!
//! A record is a head and its contents: what changed of the hard state, and entries that replace
//! the log from the first of them on. The head has the length and a checksum of the contents, and a
//! checksum of itself and of its place in the file: so a wrong length is noticed, and what comes
//! later can be found without it.
//!
//! Only the last record can be torn by a loss of power, because the next one begins when it is
//! synced; a torn one was never acknowledged, and is cut off. (With one sync for several writes, a
//! batch of them would have to be one record.) A record that cannot be read and has another one
//! behind it is damaged, and that is an error. What happens to the last record after its sync looks
//! as if it had been torn: no file by itself can tell the two apart.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write as _};
use std::path::Path;

use bytes::{Buf, BufMut, Bytes};
use raft_core::{Entry, HardState, LogId, LogIndex, Membership, NodeId, Payload, Term, Write};

/// Length of the contents, their checksum, and that of the head.
const HEAD: usize = 4 + 8 + 8;

pub struct Journal {
    file: File,
    /// Where the next record begins.
    end: u64,
    /// The log as the file has it, for [`Journal::read`]; one with a large log would read the file
    /// instead.
    log: Vec<Entry>,
}

impl Journal {
    /// Opens a journal, or begins one; what it holds.
    pub fn open(path: &Path) -> io::Result<(Self, HardState, Vec<Entry>)> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(path)?;
        // The file's name must survive, too.
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
        // What follows is torn. It goes for good before anything is written behind it.
        let end = valid as u64;
        file.set_len(end)?;
        file.seek(io::SeekFrom::Start(end))?;
        file.sync_all()?;
        let journal = Self { file, end, log: log.clone() };
        Ok((journal, hard_state, log))
    }

    /// Makes a write durable. After an error nobody knows what is on the disk, and this journal
    /// must not be used again.
    pub fn write(&mut self, write: &Write) -> io::Result<()> {
        if write.log_start().is_some() {
            return Err(io::Error::other("without snapshots, a log begins at its beginning"));
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

/// A record of these contents, which begins at `place`.
fn record_of(body: &[u8], place: u64) -> io::Result<Vec<u8>> {
    let mut record = Vec::with_capacity(HEAD + body.len());
    record.put_u32_le(u32::try_from(body.len()).map_err(io::Error::other)?);
    record.put_u64_le(checksum(body));
    let of_head = checksum_of_head(&record, place);
    record.put_u64_le(of_head);
    record.extend_from_slice(body);
    Ok(record)
}

/// The contents of the record at `place`, or none if it was not written whole.
fn record_at(file: &Bytes, place: usize) -> io::Result<Option<Bytes>> {
    // With a record behind it, it was synced once, so it was whole.
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

/// The length and the checksum of the contents of the record at `place`, if one begins there.
fn head_at(file: &[u8], place: usize) -> Option<(usize, u64)> {
    let (mut head, mut of_head) = file.get(place..)?.get(..HEAD)?.split_at(HEAD - 8);
    if checksum_of_head(head, place as u64) != of_head.get_u64_le() {
        return None;
    }
    Some((head.get_u32_le() as usize, head.get_u64_le()))
}

/// A head counts in its place only: what a command happens to contain is none.
fn checksum_of_head(head: &[u8], place: u64) -> u64 {
    checksum(&[head, &place.to_le_bytes()].concat())
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

    /// Three records, and where each of them begins.
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

    /// Every length to which a loss of power can cut the file.
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
        // A file may have grown before its contents came, and be zeros there.
        std::fs::write(&path, [&whole[..last], &[0; 4096]].concat()).unwrap();
        assert_eq!(terms(&path).unwrap(), [1, 1]);
        std::fs::write(&path, &whole).unwrap();
        let (_, state, _) = Journal::open(&path).unwrap();
        assert_eq!((state.term, terms(&path).unwrap()), (Term(3), vec![1, 3]));
        std::fs::remove_file(&path).unwrap();
    }

    /// Every bit that can be wrong. In the last record it looks as if that had been torn.
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
                    "bit {bit} of byte {byte}: {terms:?} is left"
                ),
                Err(_) => {
                    assert!(byte < last, "bit {bit} of byte {byte} is an error");
                    // It is as it was, for somebody to look at.
                    assert_eq!(std::fs::read(&path).unwrap(), bytes);
                }
            }
        }
        // Nor does it help that the last record is torn, too, as long as its head is there.
        for byte in 0..last {
            let mut bytes = whole[..last + HEAD].to_vec();
            bytes[byte] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert!(terms(&path).is_err(), "byte {byte}");
        }
        std::fs::remove_file(&path).unwrap();
    }
}
