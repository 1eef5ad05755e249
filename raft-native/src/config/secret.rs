//! The cluster secret: 32 random bytes that the nodes of a cluster share.
//!
//! The secret must be random. An unauthenticated client can get a signature from a key that is
//! derived from the secret, and could test guesses against it without any further request.

use std::fmt;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use rand::TryRng;

/// One cluster secret.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterSecret([u8; SECRET_BYTES]);

/// The secrets that a node trusts. The first one is for its own certificate.
///
/// Several secrets allow a rotation by rolling restarts: first every node trusts the new secret,
/// then every node uses it, then the old secret is removed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClusterSecrets {
    own: ClusterSecret,
    others: Vec<ClusterSecret>,
}

const SECRET_BYTES: usize = 32;
/// The smallest number of distinct bytes. Fewer than 10^-12 of all random secrets have less.
const DISTINCT_BYTES_MIN: usize = 16;
/// The largest size of a secret file.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The reason for which a cluster secret cannot be used. No text contains a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the messages say what the variants are")]
pub enum SecretError {
    #[error(
        "missing cluster secret: the file or text has none; make one with: raft secret new FILE"
    )]
    Missing,
    #[error(
        "invalid cluster secret: line {line} is not 32 bytes in hex or base64; \
         make one with: raft secret new FILE"
    )]
    Invalid { line: usize },
    #[error(
        "invalid cluster secret: line {line} is not random; make one with: raft secret new FILE"
    )]
    NotRandom { line: usize },
    #[error("duplicate cluster secret: line {line}; remove it")]
    Duplicate { line: usize },
    #[error(
        "invalid mode of the secret file {path}: {mode:04o} lets other users access it; \
         run: chmod 600 {path}"
    )]
    Mode { path: PathBuf, mode: u32 },
    #[error("cannot use the secret file {path}: {error}; check the path and its owner")]
    File { path: PathBuf, error: std::io::Error },
    #[error(
        "invalid secret file {0}: its size is not 32 bytes; remove it, and the next start makes \
         a new one"
    )]
    DamagedDevelopmentSecret(PathBuf),
    #[error(
        "no directory for the development secret: neither XDG_DATA_HOME nor HOME is set; \
         use --cluster-secret-file"
    )]
    NoDevelopmentDirectory,
    #[error("cannot get random bytes from the operating system: {0}; check the random device")]
    Random(rand::rngs::SysError),
}

impl ClusterSecret {
    /// Makes a new random secret.
    ///
    /// # Errors
    ///
    /// [`SecretError::Random`].
    pub fn generate() -> Result<Self, SecretError> {
        let mut bytes = [0; SECRET_BYTES];
        rand::rngs::SysRng.try_fill_bytes(&mut bytes).map_err(SecretError::Random)?;
        Ok(Self(bytes))
    }

    /// Returns the secret in hex, as a secret file contains it.
    #[must_use]
    pub fn to_hex(&self) -> String {
        HEXLOWER.encode(&self.0)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn parse(text: &str, line: usize) -> Result<Self, SecretError> {
        let decoded = HEXLOWER_PERMISSIVE
            .decode(text.as_bytes())
            .or_else(|_| BASE64.decode(text.as_bytes()))
            .map_err(|_| SecretError::Invalid { line })?;
        let bytes: [u8; SECRET_BYTES] =
            decoded.try_into().map_err(|_| SecretError::Invalid { line })?;
        let mut distinct = bytes;
        distinct.sort_unstable();
        if distinct.chunk_by(|a, b| a == b).count() < DISTINCT_BYTES_MIN {
            return Err(SecretError::NotRandom { line });
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClusterSecret(..)")
    }
}

impl From<ClusterSecret> for ClusterSecrets {
    fn from(own: ClusterSecret) -> Self {
        Self { own, others: Vec::new() }
    }
}

impl ClusterSecrets {
    /// Parses secrets, one on each line. Empty lines and lines that begin with `#` are ignored.
    ///
    /// # Errors
    ///
    /// [`SecretError`], with the number of the line.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let mut secrets = Vec::new();
        for (line, text) in (1..).zip(text.lines().map(str::trim)) {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let secret = ClusterSecret::parse(text, line)?;
            if secrets.contains(&secret) {
                return Err(SecretError::Duplicate { line });
            }
            secrets.push(secret);
        }
        let mut secrets = secrets.into_iter();
        let own = secrets.next().ok_or(SecretError::Missing)?;
        Ok(Self { own, others: secrets.collect() })
    }

    /// Reads secrets from a file that other users cannot access.
    ///
    /// # Errors
    ///
    /// [`SecretError`].
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        let bytes = read_private(path)?;
        Self::parse(&String::from_utf8_lossy(&bytes))
    }

    /// Returns the development secret of this user, and makes it if it does not exist.
    pub(crate) fn development() -> Result<Self, SecretError> {
        let path = development_path()?;
        let failed = |error| SecretError::File { path: path.clone(), error };
        if let Some(directory) = path.parent() {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(directory).map_err(failed)?;
        }
        match read_private(&path) {
            Err(SecretError::File { error, .. }) if error.kind() == ErrorKind::NotFound => {}
            found => return development_secret(&path, found?),
        }
        let secret = ClusterSecret::generate()?;
        let directory = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
        file.write_all(secret.bytes()).and_then(|()| file.as_file().sync_all()).map_err(failed)?;
        // If several nodes start at the same time, the first one makes the file.
        match file.persist_noclobber(&path) {
            Ok(_) => Ok(secret.into()),
            Err(error) if error.error.kind() == ErrorKind::AlreadyExists => {
                development_secret(&path, read_private(&path)?)
            }
            Err(error) => Err(failed(error.error)),
        }
    }

    /// The secret for the certificate of this node.
    pub(crate) fn own(&self) -> &ClusterSecret {
        &self.own
    }

    /// All secrets that the certificate of a peer may have.
    pub(crate) fn trusted(&self) -> impl Iterator<Item = &ClusterSecret> {
        std::iter::once(&self.own).chain(&self.others)
    }
}

/// Reads a file that other users cannot access. The group may read a file of root, because
/// container platforms provide secrets in this way.
fn read_private(path: &Path) -> Result<Vec<u8>, SecretError> {
    let failed = |error| SecretError::File { path: path.to_owned(), error };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mode = metadata.mode() & 0o7777;
    let forbidden = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if mode & forbidden != 0 {
        return Err(SecretError::Mode { path: path.to_owned(), mode });
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

fn development_secret(path: &Path, bytes: Vec<u8>) -> Result<ClusterSecrets, SecretError> {
    let bytes = <[u8; SECRET_BYTES]>::try_from(bytes);
    let bytes = bytes.map_err(|_| SecretError::DamagedDevelopmentSecret(path.to_owned()))?;
    Ok(ClusterSecret(bytes).into())
}

fn development_path() -> Result<PathBuf, SecretError> {
    let base = std::env::var_os("XDG_DATA_HOME").filter(|path| !path.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local/share"));
    let base = base.or_else(home).ok_or(SecretError::NoDevelopmentDirectory)?;
    Ok(base.join("raft").join("development-secret"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    const BASE64: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

    #[test]
    fn secret_of_32_bytes_in_hex_or_base64_is_accepted() {
        let secrets = ClusterSecrets::parse(&format!("# new\n{HEX}\n\n  {BASE64}\n")).unwrap();
        assert_eq!(secrets.own().to_hex(), HEX);
        assert_eq!(secrets.trusted().count(), 2);
        let upper = ClusterSecrets::parse(&HEX.to_uppercase()).unwrap();
        assert_eq!(upper.own(), secrets.own());
        let generated = ClusterSecret::generate().unwrap();
        assert_eq!(*ClusterSecrets::parse(&generated.to_hex()).unwrap().own(), generated);
    }

    #[test]
    fn guessable_secret_is_refused_with_command_that_makes_one() {
        let phrase = "passwordpasswordpasswordpassword";
        let encoded = data_encoding::BASE64.encode(phrase.as_bytes());
        let phrases = ["", "# comment", "correcthorsebattery", "passwordpassword", phrase];
        let others = [&HEX[2..], &encoded, &"00".repeat(32), &"ab".repeat(32)];
        for text in phrases.iter().chain(&others) {
            let error = ClusterSecrets::parse(text).unwrap_err().to_string();
            assert!(error.contains("raft secret new"), "{text:?}: {error}");
            assert!(text.is_empty() || !error.contains(text), "a secret in a message: {error}");
        }
        let error = ClusterSecrets::parse(&format!("{HEX}\n{HEX}")).unwrap_err();
        assert!(matches!(error, SecretError::Duplicate { line: 2 }));
    }

    #[test]
    fn secret_file_that_others_can_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, HEX).unwrap();
        for (mode, is_allowed) in [(0o600, true), (0o400, true), (0o644, false), (0o602, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let read = ClusterSecrets::read(&path);
            assert_eq!(read.is_ok(), is_allowed, "{mode:o}: {read:?}");
        }
        let missing = ClusterSecrets::read(&directory.path().join("missing")).unwrap_err();
        assert!(missing.to_string().contains("missing"), "{missing}");
    }
}
