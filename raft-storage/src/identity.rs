//! The owner of a data directory.

/// The cluster and the member to which all files of a directory belong.
///
/// Every checksum includes the identity, so a file of another member is never used.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Identity {
    /// The cluster.
    pub cluster: u128,
    /// The member.
    pub member: u64,
}

impl Identity {
    pub(crate) const BYTES: usize = 24;

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..16].copy_from_slice(&self.cluster.to_le_bytes());
        bytes[16..].copy_from_slice(&self.member.to_le_bytes());
        bytes
    }

    /// The checksum of the identity and the number of a file: the start of all checksums in it.
    pub(crate) fn seed(self, file: u64) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c(&self.to_bytes()), &file.to_le_bytes())
    }
}
