//! What the nodes are called.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use raft_core::NodeId;

/// Each member's name: its address until it has told its name.
#[derive(Clone, Debug)]
pub(crate) struct NodeNames(Arc<RwLock<BTreeMap<NodeId, String>>>);

/// A longer name is no name.
const NAME_BYTES_MAX: usize = 64;

impl NodeNames {
    pub(crate) fn new(names: impl IntoIterator<Item = (NodeId, String)>) -> Self {
        Self(Arc::new(RwLock::new(names.into_iter().collect())))
    }

    /// Takes the name that a member has told.
    pub(crate) fn set(&self, node: NodeId, name: String) {
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = names.get_mut(&node)
            && name.len() <= NAME_BYTES_MAX
        {
            *known = name;
        }
    }

    pub(crate) fn get(&self, node: NodeId) -> String {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        names.get(&node).cloned().unwrap_or_else(|| node.to_string())
    }

    /// Puts names in the place of numbers.
    pub(crate) fn put_into(&self, mut text: String) -> String {
        let names = self.0.read().unwrap_or_else(PoisonError::into_inner);
        for (node, name) in names.iter() {
            text = text.replace(&node.to_string(), name);
        }
        text
    }
}
