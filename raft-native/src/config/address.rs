//! The address of a node, and the node id that is derived from it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use raft_core::NodeId;

/// The host and the port of a node, in the spelling that all nodes of the cluster use.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Address {
    host: String,
    port: u16,
}

/// The text is not an [`Address`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("invalid address: {0:?}; give HOST:PORT, for example localhost:50052")]
pub struct AddressError(String);

impl Address {
    /// Makes an address. The host name is not case-sensitive.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Self {
        Self { host: host.to_ascii_lowercase(), port }
    }

    /// The port of both UDP (peers) and TCP (clients).
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The host name or IP address.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Returns true if both addresses are equal, or are the same port on loopback.
    pub(crate) fn is_same_endpoint(&self, other: &Self) -> bool {
        let is_loopback = |address: &Self| {
            let host = address.host();
            host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback())
        };
        self == other || (self.port == other.port && is_loopback(self) && is_loopback(other))
    }

    /// The node id: a hash of the address, which all nodes know before they connect (see
    /// docs/decisions/0002-node-ids.md). It fits into the integers of JavaScript.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in self.to_string().bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        NodeId((hash ^ (hash >> 48)) & 0xffff_ffff_ffff)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let parsed = text.rsplit_once(':').and_then(|(host, port)| {
            let port = port.parse().ok().filter(|port| *port != 0)?;
            (!host.is_empty() && !host.contains(char::is_whitespace)).then(|| Self::new(host, port))
        });
        parsed.ok_or_else(|| AddressError(text.to_owned()))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_several_names() {
        let local = Address::new("localhost", 1);
        for same in ["localhost:1", "127.0.0.1:1", "127.1.2.3:1", "[::1]:1"] {
            assert!(local.is_same_endpoint(&same.parse().unwrap()), "{same}");
        }
        for other in ["localhost:2", "10.0.0.1:1", "example.org:1"] {
            assert!(!local.is_same_endpoint(&other.parse().unwrap()), "{other}");
        }
    }

    #[test]
    fn addresses_are_read_and_written() {
        let address: Address = "LocalHost:50051".parse().unwrap();
        assert_eq!(address.to_string(), "localhost:50051");
        assert_eq!(address.node_id(), Address::new("localhost", 50051).node_id());
        assert_ne!(address.node_id(), Address::new("localhost", 50052).node_id());
        let v6: Address = "[::1]:50051".parse().unwrap();
        assert_eq!((v6.host(), v6.port()), ("::1", 50051));
        for bad in ["", "localhost", "localhost:", ":1", "localhost:0", "localhost:99999", "a b:1"]
        {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
