//! The messages in flight between clients and servers.

use std::collections::BTreeMap;

use crate::node::client_api::{ClientResponse, RequestId};

/// A message between a client and a server.
#[derive(Clone, Debug)]
pub(crate) struct ClientMessage {
    /// The request that is sent or answered.
    pub(crate) request: RequestId,
    /// The server.
    pub(crate) node: u64,
    /// The response. None if the message is the request itself.
    pub(crate) response: Option<ClientResponse>,
    pub(crate) sent_at: u64,
    pub(crate) arrives_at: u64,
}

/// The messages in flight, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientMessages {
    in_flight: BTreeMap<u64, ClientMessage>,
    /// The number of the latest message.
    latest: u64,
}

impl ClientMessages {
    /// Adds a message. Returns its number.
    pub(super) fn insert(&mut self, message: ClientMessage) -> u64 {
        self.latest += 1;
        self.in_flight.insert(self.latest, message);
        self.latest
    }

    pub(crate) fn remove(&mut self, id: u64) -> Option<ClientMessage> {
        self.in_flight.remove(&id)
    }

    pub(crate) fn get(&self, id: u64) -> Option<&ClientMessage> {
        self.in_flight.get(&id)
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, &ClientMessage)> {
        self.in_flight.iter().map(|(id, message)| (*id, message))
    }
}
