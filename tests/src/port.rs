//! Ports that nobody else has, and that nobody else will get while a node is down.

use std::collections::hash_map::RandomState;
use std::env;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};

use anyhow::{Context, Result, bail};

/// Below the range from which systems hand out ports by themselves: a port from there could be taken by an outgoing
/// connection, just while its node is being restarted.
const RANGE: std::ops::Range<u16> = 12_000..20_000;

/// A port that is free in TCP and UDP, reserved among these tests for as long as this lives.
pub struct Port {
    number: u16,
    /// Locked: other processes that test at the same time pass it by.
    _reservation: File,
}

impl Port {
    /// Reserves one.
    ///
    /// # Errors
    ///
    /// If there is none left, or the reservations can't be written down.
    pub fn reserve() -> Result<Self> {
        let directory = env::temp_dir().join("raft-tests-ports");
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let count = RANGE.end - RANGE.start;
        let offset = (RandomState::new().hash_one(()) % u64::from(count)) as u16;
        for step in 0..count {
            let number = RANGE.start + (offset + step) % count;
            let path = directory.join(number.to_string());
            let reservation = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .with_context(|| format!("cannot open {}", path.display()))?;
            if reservation.try_lock().is_ok() && is_free(number) {
                return Ok(Self {
                    number,
                    _reservation: reservation,
                });
            }
        }
        bail!("no port is free in {RANGE:?}");
    }

    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}

fn is_free(number: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
        && UdpSocket::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_reserved_port_is_not_given_twice() {
        let ports: Vec<Port> = (0..50).map(|_| Port::reserve().unwrap()).collect();
        let numbers: BTreeSet<u16> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), 50);
    }

    #[test]
    fn a_port_in_use_is_not_free() {
        let port = Port::reserve().unwrap();
        assert!(is_free(port.number()));
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port.number())).unwrap();
        assert!(!is_free(port.number()));
        drop(tcp);
        let _udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port.number())).unwrap();
        assert!(!is_free(port.number()));
    }
}
