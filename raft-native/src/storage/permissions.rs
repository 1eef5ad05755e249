//! Access to the data directory: its owner alone may read it.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use super::StorageError;

/// The file that every data directory has.
pub(super) const LOCK_FILE: &str = "lock";

/// Access of the group and of other users.
const SHARED: u32 = 0o077;
/// A file system has this directory at its root.
const LOST_AND_FOUND: &str = "lost+found";

/// Makes the directory, or takes access to an existing one from the group and from other users.
///
/// A directory with other files may be important to other programs, so its mode stays as it is,
/// and the node does not use it.
pub(super) fn make_private(path: &Path) -> Result<(), StorageError> {
    let failed = |error| StorageError::File { path: path.to_owned(), error };
    match fs::metadata(path) {
        Ok(found) if !found.is_dir() => {
            return Err(failed(io::Error::from(ErrorKind::NotADirectory)));
        }
        Ok(found) => {
            let mode = found.permissions().mode() & 0o7777;
            if mode & SHARED != 0 && !is_empty_or_ours(path).map_err(failed)? {
                return Err(StorageError::OtherFiles { path: path.to_owned(), mode });
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700).create(path).map_err(failed)?;
        }
        Err(error) => return Err(failed(error)),
    }
    restrict(path)
}

fn is_empty_or_ours(path: &Path) -> io::Result<bool> {
    if path.join(LOCK_FILE).is_file() {
        return Ok(true);
    }
    for entry in fs::read_dir(path)? {
        if entry?.file_name() != LOST_AND_FOUND {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes the access of the group and of other users from everything in a directory.
fn restrict(path: &Path) -> Result<(), StorageError> {
    let failed = |error| StorageError::File { path: path.to_owned(), error };
    let found = fs::symlink_metadata(path).map_err(failed)?;
    let mode = found.permissions().mode() & 0o7777;
    if mode & SHARED != 0 && !found.is_symlink() {
        let private = Permissions::from_mode(mode & !SHARED);
        fs::set_permissions(path, private).map_err(|error| StorageError::Exposed {
            path: path.to_owned(),
            mode,
            error,
        })?;
    }
    if found.is_dir() {
        for entry in fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if entry.file_name() != LOST_AND_FOUND {
                restrict(&entry.path())?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn new_data_directory_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        make_private(&path).unwrap();
        assert_eq!(mode(&path), 0o700);
    }

    #[test]
    fn wide_modes_of_existing_data_are_tightened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node1");
        fs::create_dir_all(path.join("data")).unwrap();
        for file in ["lock", "mark", "data/0.jnl"] {
            fs::write(path.join(file), "").unwrap();
            chmod(&path.join(file), 0o644);
        }
        chmod(&path, 0o755);
        chmod(&path.join("data"), 0o755);
        make_private(&path).unwrap();
        assert_eq!((mode(&path), mode(&path.join("data"))), (0o700, 0o700));
        for file in ["lock", "mark", "data/0.jnl"] {
            assert_eq!(mode(&path.join(file)), 0o600, "{file}");
        }
    }

    #[test]
    fn directory_with_other_files_keeps_its_mode_and_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        fs::write(path.join("letters"), "").unwrap();
        chmod(path, 0o755);
        let error = make_private(path).unwrap_err().to_string();
        assert!(error.contains("0755"), "{error}");
        assert_eq!(mode(path), 0o755);
        fs::remove_file(path.join("letters")).unwrap();
        make_private(path).unwrap();
        assert_eq!(mode(path), 0o700);
    }
}
