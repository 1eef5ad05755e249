//! Tables: sorted pairs in a file that never changes.
//!
//! A table consists of blocks of pairs, an index of the first key of each block, a filter, and a
//! footer. Each part has a checksum that covers the identity, the number of the table, the position
//! and the bytes. The footer also lists all tables of the store at the time when the table was
//! written, so the newest table describes the whole store.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes};
use prost::encoding::{decode_varint, encode_varint};
use raft_kv::Order;

use super::filter::{self, Filter};
use super::layer::Pair;
use crate::error::{DamageReason, StorageError};
use crate::files::{File, Files};
use crate::identity::Identity;
use crate::sabotage::Rule;

const MAGIC: &[u8; 8] = b"raft-tbl";
/// The format of tables.
const FORMAT: u32 = 1;
const PREFIX: &str = "table-";
const UNFINISHED: &str = ".unfinished";
/// The checksum and the length in front of each part.
const PART_HEAD_BYTES: usize = 8;
/// Position, length and checksum of the footer.
const TRAILER_BYTES: usize = 16;
/// Bytes that are written at once.
const WRITE_BYTES: usize = 1 << 20;

/// The name of a table.
pub(super) fn name(number: u64) -> String {
    format!("{PREFIX}{number:016x}")
}

/// The number of the table with this name.
pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(PREFIX).filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// Returns true if a file is a table that was never completed.
pub(super) fn is_unfinished(name: &str) -> bool {
    name.starts_with(PREFIX) && name.ends_with(UNFINISHED)
}

/// A table that can be read.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) number: u64,
    /// All tables of the store when this one was written, newest first.
    pub(super) live: Vec<u64>,
    /// The length of the file.
    pub(super) bytes: u64,
    file: Arc<dyn File>,
    seed: u32,
    blocks: Vec<Block>,
    filter: Filter,
}

/// Where a block is.
#[derive(Debug)]
struct Block {
    first: Bytes,
    position: u64,
}

impl Table {
    /// Opens a table.
    pub(super) fn open(
        files: &dyn Files,
        number: u64,
        identity: Identity,
    ) -> Result<Self, StorageError> {
        let name = name(number);
        let file = files.open(&name).map_err(StorageError::io("open", &name))?;
        let bytes = file.length().map_err(StorageError::io("read", &name))?;
        let damaged = |position, reason| StorageError::damaged(&name, position, reason);
        let trailer_at = bytes
            .checked_sub(TRAILER_BYTES as u64)
            .ok_or_else(|| damaged(0, DamageReason::TooShort))?;
        let mut trailer = [0; TRAILER_BYTES];
        file.read_at(&mut trailer, trailer_at).map_err(StorageError::io("read", &name))?;
        let footer_at = decode_trailer(&trailer)
            .filter(|footer_at| *footer_at < trailer_at)
            .ok_or_else(|| damaged(trailer_at, DamageReason::Checksum))?;
        // The footer has the same seed in all tables, so that the owner of another one is known.
        let footer = read_part(&*file, &name, footer_seed(), footer_at)?;
        let footer = Footer::decode(&footer, &name, footer_at, identity)?;
        if footer.number != number {
            return Err(damaged(footer_at, DamageReason::Contents));
        }
        let seed = identity.seed(number);
        let index = read_part(&*file, &name, seed, footer.index_at)?;
        let blocks =
            decode_index(index).ok_or_else(|| damaged(footer.index_at, DamageReason::Contents))?;
        let filter = read_part(&*file, &name, seed, footer.filter_at)?;
        let filter = Filter::from_bytes(filter.into());
        Ok(Self { number, live: footer.live, bytes, file, seed, blocks, filter })
    }

    /// The last write to a key: `Some(None)` if it was deleted, `None` if it was not written.
    pub(super) fn get(&self, key: &[u8], hash: u64) -> Result<Option<Option<Bytes>>, StorageError> {
        if !self.filter.may_contain(hash) {
            return Ok(None);
        }
        let after = self.blocks.partition_point(|block| block.first[..] <= *key);
        let Some(at) = after.checked_sub(1) else { return Ok(None) };
        let mut rest = self.block(at)?;
        while !rest.is_empty() {
            let (found, value) = self.pair(&mut rest, at)?;
            if found[..] >= *key {
                return Ok((found == *key).then_some(value));
            }
        }
        Ok(None)
    }

    /// The pairs with keys in `from..to`.
    pub(super) fn scan(self: Arc<Self>, from: &[u8], to: &[u8], order: Order) -> TableScan {
        let start = self.blocks.partition_point(|block| block.first[..] <= *from).saturating_sub(1);
        let end = self.blocks.partition_point(|block| block.first[..] < *to);
        TableScan {
            table: self,
            from: Bytes::copy_from_slice(from),
            to: Bytes::copy_from_slice(to),
            order,
            blocks: start..end.max(start),
            pairs: VecDeque::new(),
        }
    }

    /// Reads every block, and returns the number of pairs.
    pub(super) fn check(&self) -> Result<u64, StorageError> {
        let mut count = 0;
        let mut last: Option<Bytes> = None;
        for at in 0..self.blocks.len() {
            let mut rest = self.block(at)?;
            while !rest.is_empty() {
                let (key, _) = self.pair(&mut rest, at)?;
                if last.is_some_and(|last| last >= key) {
                    let position = self.blocks[at].position;
                    let name = name(self.number);
                    return Err(StorageError::damaged(&name, position, DamageReason::Contents));
                }
                last = Some(key);
                count += 1;
            }
        }
        Ok(count)
    }

    fn block(&self, at: usize) -> Result<Bytes, StorageError> {
        read_part(&*self.file, &name(self.number), self.seed, self.blocks[at].position)
    }

    fn pair(&self, rest: &mut Bytes, block: usize) -> Result<Pair, StorageError> {
        decode_pair(rest).ok_or_else(|| {
            let position = self.blocks[block].position;
            StorageError::damaged(&name(self.number), position, DamageReason::Contents)
        })
    }
}

/// A scan of a table.
#[derive(Debug)]
pub(super) struct TableScan {
    table: Arc<Table>,
    from: Bytes,
    to: Bytes,
    order: Order,
    /// Blocks that were not read.
    blocks: std::ops::Range<usize>,
    /// The rest of the block that was read.
    pairs: VecDeque<Pair>,
}

impl TableScan {
    fn read_block(&mut self, at: usize) -> Result<(), StorageError> {
        let mut rest = self.table.block(at)?;
        while !rest.is_empty() {
            let pair = self.table.pair(&mut rest, at)?;
            if pair.0 >= self.from && pair.0 < self.to {
                self.pairs.push_back(pair);
            }
        }
        Ok(())
    }
}

impl Iterator for TableScan {
    type Item = Result<Pair, StorageError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (pair, block) = match self.order {
                Order::Ascending => (self.pairs.pop_front(), self.blocks.start),
                Order::Descending => (self.pairs.pop_back(), self.blocks.end.wrapping_sub(1)),
            };
            if let Some(pair) = pair {
                return Some(Ok(pair));
            }
            if self.blocks.is_empty() {
                return None;
            }
            match self.order {
                Order::Ascending => self.blocks.start += 1,
                Order::Descending => self.blocks.end -= 1,
            }
            if let Err(error) = self.read_block(block) {
                self.blocks = 0..0;
                return Some(Err(error));
            }
        }
    }
}

/// Writes a table. The table exists only after [`finish`](Self::finish).
pub(super) struct TableWriter<'a> {
    files: &'a dyn Files,
    identity: Identity,
    number: u64,
    unfinished: String,
    file: Arc<dyn File>,
    block_bytes: usize,
    /// Bytes that are not written, and their position.
    buffer: Vec<u8>,
    position: u64,
    block: Vec<u8>,
    block_first: Bytes,
    blocks: Vec<Block>,
    hashes: Vec<u64>,
}

impl<'a> TableWriter<'a> {
    pub(super) fn new(
        files: &'a dyn Files,
        number: u64,
        identity: Identity,
        block_bytes: usize,
    ) -> Result<Self, StorageError> {
        let unfinished = format!("{}{UNFINISHED}", name(number));
        // An attempt that found no space leaves such a file.
        let _ = files.remove(&unfinished);
        let file = files.create(&unfinished).map_err(StorageError::io("create", &unfinished))?;
        Ok(Self {
            files,
            identity,
            number,
            unfinished,
            file,
            block_bytes,
            buffer: Vec::with_capacity(WRITE_BYTES + 2 * block_bytes),
            position: 0,
            block: Vec::with_capacity(2 * block_bytes),
            block_first: Bytes::new(),
            blocks: Vec::new(),
            hashes: Vec::new(),
        })
    }

    /// Adds the pair with the next key.
    pub(super) fn push(&mut self, (key, value): &Pair) -> Result<(), StorageError> {
        if self.block.is_empty() {
            self.block_first = key.clone();
        }
        self.hashes.push(filter::hash(key));
        encode_pair(&mut self.block, key, value.as_ref());
        if self.block.len() >= self.block_bytes {
            self.end_block()?;
        }
        Ok(())
    }

    /// Completes the table and makes it durable. `live` lists all tables of the store, newest
    /// first.
    pub(super) fn finish(mut self, live: Vec<u64>) -> Result<Table, StorageError> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        let seed = self.identity.seed(self.number);
        let index_at = self.part(seed, &encode_index(&self.blocks))?;
        let filter = Filter::new(&self.hashes);
        let filter_at = self.part(seed, filter.bytes())?;
        let footer = Footer { number: self.number, index_at, filter_at, live };
        let footer_at = self.part(footer_seed(), &footer.encode(self.identity))?;
        self.buffer.extend_from_slice(&encode_trailer(footer_at));
        self.write_buffer()?;
        let name = name(self.number);
        if Rule::SyncTable.holds() {
            self.file.sync().map_err(StorageError::io("sync", &self.unfinished))?;
        }
        self.files
            .rename(&self.unfinished, &name)
            .map_err(StorageError::io("rename", &self.unfinished))?;
        if Rule::SyncTableName.holds() {
            crate::log::sync_directory(self.files)?;
        }
        Table::open(self.files, self.number, self.identity)
    }

    fn end_block(&mut self) -> Result<(), StorageError> {
        let block = std::mem::take(&mut self.block);
        let position = self.part(self.identity.seed(self.number), &block)?;
        self.block = block;
        self.block.clear();
        // A slice would keep the whole record in memory.
        let first = Bytes::copy_from_slice(&self.block_first);
        self.blocks.push(Block { first, position });
        Ok(())
    }

    /// Appends a part, and returns its position.
    fn part(&mut self, seed: u32, contents: &[u8]) -> Result<u64, StorageError> {
        let position = self.position + self.buffer.len() as u64;
        let length = u32::try_from(contents.len()).map_err(|_| StorageError::Full)?;
        self.buffer.put_u32_le(checksum(seed, position, contents));
        self.buffer.put_u32_le(length);
        self.buffer.extend_from_slice(contents);
        if self.buffer.len() >= WRITE_BYTES {
            self.write_buffer()?;
        }
        Ok(position)
    }

    fn write_buffer(&mut self) -> Result<(), StorageError> {
        self.file
            .write_at(&self.buffer, self.position)
            .map_err(StorageError::io("write", &self.unfinished))?;
        self.position += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

struct Footer {
    number: u64,
    index_at: u64,
    filter_at: u64,
    live: Vec<u64>,
}

impl Footer {
    fn encode(&self, identity: Identity) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_slice(MAGIC);
        bytes.put_u32_le(FORMAT);
        bytes.put_slice(&identity.to_bytes());
        for number in [self.number, self.index_at, self.filter_at] {
            bytes.put_u64_le(number);
        }
        for number in &self.live {
            bytes.put_u64_le(*number);
        }
        bytes
    }

    fn decode(
        mut bytes: &[u8],
        name: &str,
        position: u64,
        identity: Identity,
    ) -> Result<Self, StorageError> {
        let invalid = || StorageError::damaged(name, position, DamageReason::Contents);
        if !bytes.starts_with(MAGIC) {
            return Err(invalid());
        }
        bytes.advance(MAGIC.len());
        let found = bytes.try_get_u32_le().map_err(|_| invalid())?;
        if found != FORMAT {
            let file = name.to_owned();
            return Err(StorageError::UnknownFormat { file, found, known: FORMAT });
        }
        if !bytes.starts_with(&identity.to_bytes()) {
            return Err(StorageError::Foreign { file: name.to_owned() });
        }
        bytes.advance(Identity::BYTES);
        let mut numbers = Vec::new();
        while let Ok(number) = bytes.try_get_u64_le() {
            numbers.push(number);
        }
        match numbers[..] {
            [number, index_at, filter_at, ref live @ ..] if bytes.is_empty() => {
                Ok(Self { number, index_at, filter_at, live: live.to_vec() })
            }
            _ => Err(invalid()),
        }
    }
}

fn footer_seed() -> u32 {
    crc32c::crc32c(MAGIC)
}

fn checksum(seed: u32, position: u64, contents: &[u8]) -> u32 {
    let place = crc32c::crc32c_append(seed, &position.to_le_bytes());
    let length = (contents.len() as u32).to_le_bytes();
    crc32c::crc32c_append(crc32c::crc32c_append(place, &length), contents)
}

fn encode_trailer(footer_at: u64) -> [u8; TRAILER_BYTES] {
    let mut bytes = [0; TRAILER_BYTES];
    bytes[..8].copy_from_slice(&footer_at.to_le_bytes());
    let sum = checksum(footer_seed(), u64::MAX, &bytes[..8]);
    bytes[8..12].copy_from_slice(&sum.to_le_bytes());
    bytes[12..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The position of the footer.
fn decode_trailer(bytes: &[u8; TRAILER_BYTES]) -> Option<u64> {
    let footer_at = u64::from_le_bytes(*bytes.first_chunk()?);
    (encode_trailer(footer_at) == *bytes).then_some(footer_at)
}

/// Reads a part and checks it.
fn read_part(file: &dyn File, name: &str, seed: u32, position: u64) -> Result<Bytes, StorageError> {
    let damaged = |reason| StorageError::damaged(name, position, reason);
    let mut head = [0; PART_HEAD_BYTES];
    file.read_at(&mut head, position).map_err(StorageError::io("read", name))?;
    let mut head = &head[..];
    let (expected, length) = (head.get_u32_le(), head.get_u32_le());
    let start = position + PART_HEAD_BYTES as u64;
    let file_length = file.length().map_err(StorageError::io("read", name))?;
    if start + u64::from(length) > file_length {
        return Err(damaged(DamageReason::Checksum));
    }
    let mut contents = vec![0; length as usize];
    file.read_at(&mut contents, start).map_err(StorageError::io("read", name))?;
    if checksum(seed, position, &contents) != expected && Rule::CheckParts.holds() {
        return Err(damaged(DamageReason::Checksum));
    }
    Ok(contents.into())
}

fn encode_index(blocks: &[Block]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for block in blocks {
        bytes.put_u64_le(block.position);
        encode_varint(block.first.len() as u64, &mut bytes);
        bytes.put_slice(&block.first);
    }
    bytes
}

fn decode_index(mut bytes: Bytes) -> Option<Vec<Block>> {
    let mut blocks = Vec::new();
    while !bytes.is_empty() {
        let position = bytes.try_get_u64_le().ok()?;
        let first = take(&mut bytes)?;
        blocks.push(Block { first, position });
    }
    Some(blocks)
}

/// A value has one more than its length in front, and a deleted key has 0.
fn encode_pair(bytes: &mut Vec<u8>, key: &[u8], value: Option<&Bytes>) {
    encode_varint(key.len() as u64, bytes);
    bytes.put_slice(key);
    match value {
        Some(value) => {
            encode_varint(value.len() as u64 + 1, bytes);
            bytes.put_slice(value);
        }
        None => bytes.put_u8(0),
    }
}

fn decode_pair(bytes: &mut Bytes) -> Option<Pair> {
    let key = take(bytes)?;
    match decode_varint(bytes).ok()?.checked_sub(1) {
        Some(length) => {
            let length = usize::try_from(length).ok().filter(|length| *length <= bytes.len())?;
            Some((key, Some(bytes.split_to(length))))
        }
        None => Some((key, None)),
    }
}

/// Takes bytes with their length in front.
fn take(bytes: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(decode_varint(bytes).ok()?).ok()?;
    (length <= bytes.len()).then(|| bytes.split_to(length))
}
