//! A disk in memory that loses what was not synced.
//!
//! After a power cut, a sector has any of the contents that it had since the last sync, and a name
//! means any of the files that it meant since the last sync of the directory. Each sector and each
//! name is drawn independently, so writes are torn, lost and reordered. Synced contents are kept.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use super::{File, Files};

/// The unit that a power cut writes completely or not at all.
pub const SECTOR_BYTES: usize = 512;

/// A simulated directory. Clones share the disk.
#[derive(Clone, Debug)]
pub struct SimulatedFiles {
    disk: Arc<Mutex<Disk>>,
}

#[derive(Debug)]
struct Disk {
    /// Files by number. A file without a name stays until the next power cut.
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// The file of each changed name since the last sync of the directory.
    pending_names: Vec<(String, Option<u64>)>,
    random: Xoshiro256PlusPlus,
    /// Handles of an earlier boot do not work.
    boot: u64,
    /// Operations that change the disk until the power is cut.
    operations_left: Option<u64>,
    /// The space of the file system in bytes.
    capacity: u64,
    fails_syncs: bool,
}

#[derive(Debug, Default)]
struct Inode {
    current: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<Pending>,
    allocated: u64,
}

/// A change of a file that is not synced.
#[derive(Debug)]
enum Pending {
    Write { position: u64, bytes: Vec<u8> },
    Length(u64),
}

#[derive(Debug)]
struct SimulatedFile {
    disk: Arc<Mutex<Disk>>,
    inode: u64,
    boot: u64,
}

impl SimulatedFiles {
    /// An empty disk. The seed determines the results of all power cuts.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let disk = Disk {
            inodes: BTreeMap::new(),
            next_inode: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            boot: 0,
            operations_left: None,
            capacity: u64::MAX,
            fails_syncs: false,
        };
        Self { disk: Arc::new(Mutex::new(disk)) }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        lock(&self.disk)
    }

    /// Lets the power fail after some more operations that change the disk. All operations from
    /// then on fail until [`cut_power`](Self::cut_power).
    pub fn fail_power_after(&self, operations: u64) {
        self.disk().operations_left = Some(operations);
    }

    /// Sets the size of the file system.
    pub fn set_capacity(&self, bytes: u64) {
        self.disk().capacity = bytes;
    }

    /// Lets all syncs fail, or none.
    pub fn fail_syncs(&self, fail: bool) {
        self.disk().fails_syncs = fail;
    }

    /// Cuts the power and restores it. Every handle that is open now fails from now on.
    pub fn cut_power(&self) {
        let mut disk = self.disk();
        disk.boot += 1;
        disk.operations_left = None;
        let Disk { inodes, random, .. } = &mut *disk;
        for inode in inodes.values_mut() {
            inode.lose_unsynced(random);
        }
        let mut names = std::mem::take(&mut disk.durable_names);
        let mut choices: BTreeMap<String, Vec<Option<u64>>> = BTreeMap::new();
        for (name, inode) in std::mem::take(&mut disk.pending_names) {
            choices.entry(name).or_default().push(inode);
        }
        for (name, mut meanings) in choices {
            meanings.push(names.get(&name).copied());
            let drawn = meanings[below(&mut disk.random, meanings.len())];
            match drawn {
                Some(inode) => names.insert(name, inode),
                None => names.remove(&name),
            };
        }
        disk.inodes.retain(|inode, _| names.values().any(|named| named == inode));
        disk.names = names.clone();
        disk.durable_names = names;
    }

    /// The length of a file.
    #[must_use]
    pub fn length_of(&self, name: &str) -> Option<u64> {
        let disk = self.disk();
        let inode = disk.inodes.get(disk.names.get(name)?)?;
        Some(inode.current.len() as u64)
    }

    /// Changes the bits of a byte that the mask contains. Returns false if there is no such byte.
    #[must_use]
    pub fn damage(&self, name: &str, position: u64, mask: u8) -> bool {
        let mut disk = self.disk();
        let Some(inode) = disk.names.get(name).copied() else { return false };
        let Some(inode) = disk.inodes.get_mut(&inode) else { return false };
        let mut found = false;
        for bytes in [&mut inode.current, &mut inode.durable] {
            if let Some(byte) = usize::try_from(position).ok().and_then(|at| bytes.get_mut(at)) {
                *byte ^= mask;
                found = true;
            }
        }
        found
    }

    /// The contents of a file.
    #[must_use]
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let disk = self.disk();
        Some(disk.inodes.get(disk.names.get(name)?)?.current.clone())
    }
}

impl Disk {
    /// Counts an operation that changes the disk.
    fn change(&mut self) -> io::Result<()> {
        match &mut self.operations_left {
            Some(0) => Err(io::Error::other("the power failed")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn used(&self) -> u64 {
        self.names.values().filter_map(|inode| self.inodes.get(inode)).map(Inode::size).sum()
    }

    fn set_name(&mut self, name: &str, inode: Option<u64>) {
        match inode {
            Some(inode) => self.names.insert(name.to_owned(), inode),
            None => self.names.remove(name),
        };
        self.pending_names.push((name.to_owned(), inode));
    }
}

impl Inode {
    fn size(&self) -> u64 {
        self.allocated.max(self.current.len() as u64)
    }

    fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Pending::Write { position, bytes } => write(&mut self.durable, position, &bytes),
                Pending::Length(length) => self.durable.resize(length as usize, 0),
            }
        }
    }

    fn lose_unsynced(&mut self, random: &mut Xoshiro256PlusPlus) {
        let pending = std::mem::take(&mut self.pending);
        // A third of the power cuts keeps everything, and a third loses everything.
        let fate = below(random, 3);
        let mut length = self.durable.len();
        for change in &pending {
            let new_length = match change {
                Pending::Write { position, bytes } => *position as usize + bytes.len(),
                Pending::Length(length) => *length as usize,
            };
            if fate == 2 || (fate == 1 && below(random, 2) == 0) {
                length = length.max(new_length);
            }
        }
        for change in &pending {
            let Pending::Write { position, bytes } = change else { continue };
            let mut start = *position as usize;
            let end = start + bytes.len();
            while start < end {
                let sector_end = (start / SECTOR_BYTES + 1) * SECTOR_BYTES;
                let stop = sector_end.min(end);
                if fate == 2 || (fate == 1 && below(random, 2) == 0) {
                    let from = start - *position as usize;
                    let to = stop - *position as usize;
                    write(&mut self.durable, start as u64, &bytes[from..to]);
                }
                start = stop;
            }
        }
        self.durable.resize(length, 0);
        self.current.clone_from(&self.durable);
        self.allocated = length as u64;
    }
}

impl Files for SimulatedFiles {
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let disk = self.disk();
        let inode = *disk.names.get(name).ok_or(ErrorKind::NotFound)?;
        Ok(Arc::new(SimulatedFile { disk: self.disk.clone(), inode, boot: disk.boot }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let mut disk = self.disk();
        disk.change()?;
        if disk.names.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let inode = disk.next_inode;
        disk.next_inode += 1;
        disk.inodes.insert(inode, Inode::default());
        disk.set_name(name, Some(inode));
        Ok(Arc::new(SimulatedFile { disk: self.disk.clone(), inode, boot: disk.boot }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.disk().names.keys().cloned().collect())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.change()?;
        let inode = *disk.names.get(from).ok_or(ErrorKind::NotFound)?;
        disk.set_name(to, Some(inode));
        disk.set_name(from, None);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut disk = self.disk();
        disk.change()?;
        if !disk.names.contains_key(name) {
            return Err(ErrorKind::NotFound.into());
        }
        disk.set_name(name, None);
        Ok(())
    }

    fn sync_directory(&self) -> io::Result<()> {
        let mut disk = self.disk();
        disk.change()?;
        if disk.fails_syncs {
            return Err(io::Error::other("the sync failed"));
        }
        disk.durable_names = disk.names.clone();
        disk.pending_names.clear();
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let disk = self.disk();
        Ok(disk.capacity.saturating_sub(disk.used()))
    }
}

impl SimulatedFile {
    /// Runs an operation on the file.
    fn with<T>(
        &self,
        changes: bool,
        run: impl FnOnce(&mut Inode, u64) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut disk = lock(&self.disk);
        if disk.boot != self.boot {
            return Err(io::Error::other("the file was opened before the power failed"));
        }
        if changes {
            disk.change()?;
        }
        let free = match disk.capacity {
            u64::MAX => u64::MAX,
            capacity => capacity.saturating_sub(disk.used()),
        };
        let inode = disk.inodes.get_mut(&self.inode).ok_or(ErrorKind::NotFound)?;
        run(inode, free)
    }
}

impl File for SimulatedFile {
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.with(false, |inode, _| {
            let start = usize::try_from(position).map_err(|_| ErrorKind::UnexpectedEof)?;
            let bytes = inode.current.get(start..).and_then(|rest| rest.get(..buffer.len()));
            buffer.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.with(true, |inode, free| {
            let end = position + bytes.len() as u64;
            if end.saturating_sub(inode.size()) > free {
                return Err(ErrorKind::StorageFull.into());
            }
            write(&mut inode.current, position, bytes);
            inode.pending.push(Pending::Write { position, bytes: bytes.to_vec() });
            Ok(())
        })
    }

    fn preallocate(&self, length: u64) -> io::Result<()> {
        self.with(true, |inode, free| {
            if length.saturating_sub(inode.size()) > free {
                return Err(ErrorKind::StorageFull.into());
            }
            if length > inode.current.len() as u64 {
                inode.current.resize(length as usize, 0);
                inode.pending.push(Pending::Length(length));
            }
            inode.allocated = inode.allocated.max(length);
            Ok(())
        })
    }

    fn length(&self) -> io::Result<u64> {
        self.with(false, |inode, _| Ok(inode.current.len() as u64))
    }

    fn sync(&self) -> io::Result<()> {
        let fails = lock(&self.disk).fails_syncs;
        self.with(true, |inode, _| {
            if fails {
                return Err(io::Error::other("the sync failed"));
            }
            inode.sync();
            Ok(())
        })
    }
}

/// Another thread's panic leaves the disk as it was between two operations.
fn lock(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(contents: &mut Vec<u8>, position: u64, bytes: &[u8]) {
    let start = position as usize;
    let end = start + bytes.len();
    if contents.len() < end {
        contents.resize(end, 0);
    }
    contents[start..end].copy_from_slice(bytes);
}

fn below(random: &mut Xoshiro256PlusPlus, bound: usize) -> usize {
    (random.next_u64() % bound as u64) as usize
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The guarantees of both implementations.
    pub(crate) fn check_contract(files: &dyn Files) {
        assert_eq!(files.open("a").unwrap_err().kind(), ErrorKind::NotFound);
        let file = files.create("a").unwrap();
        assert_eq!(files.create("a").unwrap_err().kind(), ErrorKind::AlreadyExists);
        file.preallocate(1000).unwrap();
        assert_eq!(file.length().unwrap(), 1000);
        file.write_at(b"xyz", 999).unwrap();
        assert_eq!(file.length().unwrap(), 1002);
        let mut bytes = [7; 4];
        file.read_at(&mut bytes, 998).unwrap();
        assert_eq!(&bytes, b"\0xyz");
        assert_eq!(file.read_at(&mut bytes, 999).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        file.sync().unwrap();
        files.create("c").unwrap();
        files.rename("a", "c").unwrap();
        files.sync_directory().unwrap();
        assert_eq!(files.list().unwrap(), ["c"]);
        assert_eq!(files.open("c").unwrap().length().unwrap(), 1002);
        files.remove("c").unwrap();
        assert_eq!(files.remove("c").unwrap_err().kind(), ErrorKind::NotFound);
        file.read_at(&mut bytes, 0).unwrap();
        assert!(files.free_bytes().unwrap() > 0);
    }

    #[test]
    fn simulated_disk_keeps_contract_of_file_layer() {
        check_contract(&SimulatedFiles::new(1));
    }

    fn after_cut(seed: u64) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        let files = SimulatedFiles::new(seed);
        let synced = files.create("synced").unwrap();
        synced.write_at(&[1; 1024], 0).unwrap();
        synced.sync().unwrap();
        files.sync_directory().unwrap();
        synced.write_at(&[2; 1024], 512).unwrap();
        files.create("other").unwrap().write_at(&[3; 10], 0).unwrap();
        files.cut_power();
        assert!(synced.length().is_err());
        (files.contents("synced"), files.contents("other"))
    }

    #[test]
    fn power_cut_keeps_synced_bytes_and_tears_others_by_sector() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let (synced, other) = after_cut(seed);
            let synced = synced.expect("its name was synced");
            assert_eq!(synced[..512], [1; 512]);
            assert!(synced[512..1024] == [1; 512] || synced[512..1024] == [2; 512]);
            seen.insert((synced.len(), synced[512], synced.get(1024).copied(), other));
        }
        assert!(seen.len() >= 8, "{}", seen.len());
    }

    #[test]
    fn equal_seeds_give_equal_disks() {
        assert_eq!(
            (0..20).map(after_cut).collect::<Vec<_>>(),
            (0..20).map(after_cut).collect::<Vec<_>>()
        );
    }

    #[test]
    fn full_disk_accepts_writes_within_preallocated_space() {
        let files = SimulatedFiles::new(1);
        files.set_capacity(1024);
        let file = files.create("a").unwrap();
        file.preallocate(1000).unwrap();
        let other = files.create("b").unwrap();
        assert_eq!(other.write_at(&[1; 100], 0).unwrap_err().kind(), ErrorKind::StorageFull);
        file.write_at(&[1; 1000], 0).unwrap();
        files.remove("a").unwrap();
        other.write_at(&[1; 100], 0).unwrap();
    }

    #[test]
    fn operations_fail_after_power_failed() {
        let files = SimulatedFiles::new(1);
        files.fail_power_after(1);
        let file = files.create("a").unwrap();
        assert!(file.write_at(b"x", 0).is_err());
        assert!(files.sync_directory().is_err());
        files.cut_power();
        files.create("b").unwrap();
    }
}
