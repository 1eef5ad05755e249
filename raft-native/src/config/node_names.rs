//! The names of the nodes.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use raft_core::NodeId;

use crate::config::NodeConfig;

/// The name of each member. It is the address of the member until the member has sent its name.
#[derive(Clone, Debug)]
pub(crate) struct NodeNames(Arc<RwLock<BTreeMap<NodeId, String>>>);

/// Longer names are ignored.
const NAME_BYTES_MAX: usize = 64;

impl NodeNames {
    /// The names at the start: the own name, and the addresses of the other members.
    pub(crate) fn of_members(config: &NodeConfig) -> Self {
        let own = (config.advertise.node_id(), config.name.clone());
        let others = config.peers.iter().map(|peer| (peer.node_id(), peer.to_string()));
        Self::new(std::iter::once(own).chain(others))
    }

    pub(crate) fn new(names: impl IntoIterator<Item = (NodeId, String)>) -> Self {
        Self(Arc::new(RwLock::new(names.into_iter().collect())))
    }

    /// Sets the name of a member.
    pub(crate) fn set(&self, node: NodeId, name: String) {
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get_mut(&node)
            && name.len() <= NAME_BYTES_MAX
        {
            *known = name;
        }
    }

    /// The name of a node, or its id if the node is not a member.
    pub(crate) fn get(&self, node: NodeId) -> String {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        names.get(&node).cloned().unwrap_or_else(|| node.to_string())
    }

    /// Replaces node ids by names in the text of an event.
    pub(crate) fn put_into(&self, mut text: String) -> String {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for (node, name) in names.iter() {
            text = text.replace(&node.to_string(), name);
        }
        text
    }
}
