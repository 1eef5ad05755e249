//! The limit of open files, and its shares.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The number of files that each part of a node may keep open.
///
/// The storage must always be able to open its next file. Otherwise the node stops with a failure
/// of the disk. So connections of clients get a fixed share of the limit, the storage gets another
/// one, and a quarter stays free for sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OpenFiles {
    /// Connections of clients.
    pub connections_max: usize,
    /// Files that are reserved for the storage: tables, segments and temporary files.
    pub storage_max: usize,
}

/// The limit of open files is too low.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say what the variants are")]
pub enum OpenFilesError {
    #[error(
        "limit of open files too low: {limit} for {nodes} node(s); raise it to at least \
         {needed}, for example with ulimit -n or LimitNOFILE="
    )]
    TooLow { limit: u64, nodes: u64, needed: u64 },
}

/// The smallest number of files of a node.
const PER_NODE_MIN: u64 = 128;
/// The largest number of connections. They use about 30 KB each, so 120 MB in total.
const CONNECTIONS_MAX: u64 = 4096;
/// The storage must always be able to open its next file. Otherwise the node stops with a failure
/// of the disk. So connections of clients get a fixed share of the limit, the storage gets another
/// one, and a quarter stays free for sockets.
const STORAGE_MAX: u64 = 900;

impl OpenFiles {
    /// Raises the limit of the process to its hard limit, and divides it among the nodes of this
    /// process.
    ///
    /// # Errors
    ///
    /// [`OpenFilesError`] if the hard limit is too low for this many nodes.
    pub fn raise_limit(nodes: u16) -> Result<Self, OpenFilesError> {
        // Some sandboxes forbid the change. The current limit must then suffice.
        let limits = getrlimit(Resource::Nofile);
        let raised = Rlimit { current: limits.maximum, maximum: limits.maximum };
        let limit = match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limits.maximum,
            Err(_) => limits.current,
        };
        // `None` means that there is no limit.
        let limit = limit.unwrap_or(u64::MAX);
        Self::divide(limit, u64::from(nodes.max(1)))
    }

    fn divide(limit: u64, nodes: u64) -> Result<Self, OpenFilesError> {
        let share = limit / nodes;
        if share < PER_NODE_MIN {
            return Err(OpenFilesError::TooLow { limit, nodes, needed: nodes * PER_NODE_MIN });
        }
        Ok(Self {
            connections_max: CONNECTIONS_MAX.min(share / 2) as usize,
            storage_max: STORAGE_MAX.min(share / 4) as usize,
        })
    }
}

/// The share of a node where 1,024 files are allowed, which is the usual soft limit.
impl Default for OpenFiles {
    fn default() -> Self {
        Self { connections_max: 512, storage_max: 256 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_and_storage_leave_a_quarter_of_the_limit_free() {
        for limit in [128, 1024, 20_000, 1_048_576, u64::MAX] {
            for nodes in [1, 3, 9] {
                let Ok(files) = OpenFiles::divide(limit, nodes) else {
                    assert!(limit / nodes < PER_NODE_MIN);
                    continue;
                };
                let used = (files.connections_max + files.storage_max) as u64 * nodes;
                assert!(used <= limit - limit / 4, "{limit}, {nodes}: {files:?}");
            }
        }
        assert_eq!(OpenFiles::divide(1024, 1).unwrap(), OpenFiles::default());
    }

    #[test]
    fn too_low_limit_is_refused_with_what_is_needed() {
        let error = OpenFiles::divide(64, 1).unwrap_err().to_string();
        assert!(error.contains("64") && error.contains("at least 128"), "{error}");
        let error = OpenFiles::divide(256, 3).unwrap_err().to_string();
        assert!(error.contains("at least 384"), "{error}");
    }
}
