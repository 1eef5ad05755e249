//! The operations on single keys that scripts and clients request.

use std::fmt;

use bytes::Bytes;
use raft_kv::{Command, Compare, Delete, KeyRange, Op, Operand, Put, Relation, Txn};
use serde::{Deserialize, Serialize};

/// An operation on one key.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Set a key.
    Put {
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// Read a key, linearizably.
    Get {
        /// The key.
        key: String,
    },
    /// Delete a key.
    Delete {
        /// The key.
        key: String,
    },
    /// Set a key if it has the expected value.
    Cas {
        /// The key.
        key: String,
        /// The expected value. None means that the key must not exist.
        expected: Option<String>,
        /// The value.
        value: String,
    },
}

impl Request {
    /// The key of the operation.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. }
            | Self::Get { key }
            | Self::Delete { key }
            | Self::Cas { key, .. } => key,
        }
    }
}

impl Request {
    /// The command of a write. None for a read.
    pub(super) fn command(&self) -> Option<Command> {
        let bytes = |text: &String| Bytes::from(text.clone().into_bytes());
        Some(match self {
            Self::Get { .. } => return None,
            Self::Put { key, value } => Command::new(Put::new(bytes(key), bytes(value))),
            Self::Delete { key } => Command::new(Delete::new(KeyRange::key(bytes(key)))),
            Self::Cas { key, expected, value } => {
                let operand = match expected {
                    Some(expected) => Operand::Value(bytes(expected)),
                    None => Operand::Version(0),
                };
                Command::new(Txn {
                    compare: vec![Compare::key(bytes(key), Relation::Equal, operand)],
                    success: vec![Op::Put(Put::new(bytes(key), bytes(value)))],
                    failure: Vec::new(),
                })
            }
        })
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { key, value } => write!(f, "put {key} = {value}"),
            Self::Get { key } => write!(f, "get {key}"),
            Self::Delete { key } => write!(f, "delete {key}"),
            Self::Cas { key, expected: Some(expected), value } => {
                write!(f, "put {key} = {value} if it is {expected}")
            }
            Self::Cas { key, expected: None, value } => write!(f, "put {key} = {value} if absent"),
        }
    }
}
