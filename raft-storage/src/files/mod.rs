//! The file layer: everything that the storage does with one directory.
//!
//! [`OsFiles`] is the operating system. [`SimulatedFiles`] is a disk in memory that loses what was
//! not synced. All storage code uses the traits, so the tests of power cuts run the code of the
//! node.

mod os;
mod simulated;

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

pub use os::OsFiles;
pub use simulated::{SECTOR_BYTES, SimulatedFiles};

/// One directory without subdirectories.
///
/// A change of the directory survives a power cut for certain only after
/// [`sync_directory`](Files::sync_directory). A sync of a file does not include its name.
pub trait Files: Debug + Send + Sync {
    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// `NotFound` if there is no file of this name; other failures of the disk.
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// Creates an empty file. The file must not exist.
    ///
    /// # Errors
    /// `AlreadyExists`, `StorageFull`, or another failure of the disk.
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>>;

    /// The names of all files, in no order.
    ///
    /// # Errors
    /// A failure of the disk.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Renames a file and replaces a file of the new name.
    ///
    /// # Errors
    /// `NotFound`, or another failure of the disk.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Open handles stay usable.
    ///
    /// # Errors
    /// `NotFound`, or another failure of the disk.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all earlier changes of names durable.
    ///
    /// # Errors
    /// A failure of the disk. It is then unknown which changes are durable.
    fn sync_directory(&self) -> io::Result<()>;

    /// The free space of the file system in bytes.
    ///
    /// # Errors
    /// A failure of the disk.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// An open file.
pub trait File: Debug + Send + Sync {
    /// Fills the buffer from a position.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends earlier; other failures of the disk.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()>;

    /// Writes bytes at a position. The file grows if necessary.
    ///
    /// # Errors
    /// `StorageFull`, or another failure of the disk. A part may have been written.
    fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()>;

    /// Reserves space up to a length, which becomes the length of the file. New bytes are zero.
    /// Writes within the length then need no space.
    ///
    /// # Errors
    /// `StorageFull`, or another failure of the disk.
    fn preallocate(&self, length: u64) -> io::Result<()>;

    /// The length in bytes.
    ///
    /// # Errors
    /// A failure of the disk.
    fn length(&self) -> io::Result<u64>;

    /// Makes all earlier writes to this file durable, and its length.
    ///
    /// # Errors
    /// A failure of the disk. It is then unknown which writes are durable, also after a later
    /// success.
    fn sync(&self) -> io::Result<()>;
}
