//! The owner of a data directory: a node of a cluster.

use prost::Message;
use raft_storage::files::Files;
use raft_storage::{Identity, read_record, write_record};
use ring::digest::{SHA256, digest};

use super::StorageError;
use crate::config::NodeConfig;
use crate::config::address::Address;
use crate::storage::OpenError;

/// The format of the data directory. A node refuses a later one.
pub(super) const FORMAT: u32 = 2;
const RECORD: &str = "owner";

/// The owner, as it is stored.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Owner {
    #[prost(uint32, tag = "1")]
    pub(super) format: u32,
    #[prost(string, tag = "2")]
    name: String,
    #[prost(string, repeated, tag = "3")]
    members: Vec<String>,
    #[prost(uint64, tag = "4")]
    pub(super) boots: u64,
    #[prost(string, tag = "5")]
    address: String,
    /// The identity in the checksums: the two halves of the cluster, and the member.
    #[prost(fixed64, repeated, tag = "6")]
    identity: Vec<u64>,
}

impl Owner {
    /// Makes sure that the directory belongs to this node, and counts its starts.
    pub(super) fn claim(config: &NodeConfig, files: &dyn Files) -> Result<Self, OpenError> {
        let path = &config.data_dir;
        let unusable = |error: StorageError| match error {
            error if error.is_damage() => OpenError::damaged(path, error),
            error => OpenError::Unusable { path: path.clone(), error },
        };
        let mut owner = match read_record(files, RECORD).map_err(|error| unusable(error.into()))? {
            Some(bytes) => {
                let found =
                    Self::decode(&bytes[..]).map_err(|error| OpenError::damaged(path, error))?;
                found.verify(config)?;
                found
            }
            None => Self::new(config),
        };
        owner.boots += 1;
        owner.store(files).map_err(unusable)?;
        Ok(owner)
    }

    pub(super) fn new(config: &NodeConfig) -> Self {
        let members = members(config);
        let digest = digest(&SHA256, members.join(",").as_bytes());
        let number = |at: usize| {
            let bytes = digest.as_ref().get(at..).and_then(<[u8]>::first_chunk);
            bytes.map_or(0, |bytes| u64::from_be_bytes(*bytes))
        };
        Self {
            format: FORMAT,
            name: config.name.clone(),
            boots: 0,
            address: config.advertise.to_string(),
            identity: vec![number(0), number(8), config.advertise.node_id().0],
            members,
        }
    }

    pub(super) fn store(&self, files: &dyn Files) -> Result<(), StorageError> {
        Ok(write_record(files, RECORD, &self.encode_to_vec())?)
    }

    /// Checks that this node is the owner.
    pub(super) fn verify(&self, config: &NodeConfig) -> Result<(), OpenError> {
        let path = config.data_dir.clone();
        if self.format > FORMAT {
            let error = StorageError::LaterFormat { found: self.format, known: FORMAT };
            return Err(OpenError::Unusable { path, error });
        }
        if self.name != config.name {
            let (owner, name) = (self.name.clone(), config.name.clone());
            return Err(OpenError::OfOtherNode { path, owner, name });
        }
        let (members, address) = (members(config), config.advertise.to_string());
        if self.members != members || self.address != address {
            let describe = |members: &[String], own: &str| {
                format!("{} (this node: {own})", members.join(", "))
            };
            let (found, expected) =
                (describe(&self.members, &self.address), describe(&members, &address));
            return Err(OpenError::OfOtherCluster { path, found, expected });
        }
        Ok(())
    }

    /// The identity in all checksums.
    pub(crate) fn identity(&self) -> Identity {
        let number = |at: usize| self.identity.get(at).copied().unwrap_or_default();
        let cluster = u128::from(number(0)) << 64 | u128::from(number(1));
        Identity { cluster, member: number(2) }
    }

    /// How often a node has started from the directory.
    pub(crate) fn boots(&self) -> u64 {
        self.boots
    }

    /// The name of the node.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Reads the owner of a directory, for an offline check. `None` if there is none.
    pub(crate) fn read(files: &dyn Files) -> Result<Option<Self>, StorageError> {
        let Some(bytes) = read_record(files, RECORD)? else { return Ok(None) };
        let owner = Self::decode(&bytes[..]).map_err(StorageError::damaged)?;
        if owner.format > FORMAT {
            return Err(StorageError::LaterFormat { found: owner.format, known: FORMAT });
        }
        Ok(Some(owner))
    }
}

fn members(config: &NodeConfig) -> Vec<String> {
    let mut members: Vec<String> = config.members().iter().map(Address::to_string).collect();
    members.sort_unstable();
    members
}
