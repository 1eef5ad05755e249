//! Ports that stay reserved while a node is down.

use std::collections::hash_map::RandomState;
use std::env;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// These ports are below the range of outgoing connections. A port in that range could be used by
/// such a connection during the restart of a node.
const RANGE: std::ops::Range<u16> = 12_000..20_000;

/// A port that is free in TCP and UDP. It is reserved among all tests until the value is dropped.
pub struct Port {
    number: u16,
    /// A locked file. Other test processes do not use this port.
    _reservation: File,
}

impl Port {
    /// Reserves a port.
    ///
    /// # Errors
    ///
    /// Returns an error if no port is free, or if the reservation cannot be written.
    pub fn reserve() -> Result<Self> {
        let [port] = Self::reserve_row()?;
        Ok(port)
    }

    /// Reserves consecutive ports.
    ///
    /// # Errors
    ///
    /// Returns an error if there are no consecutive free ports, or if a reservation cannot be
    /// written.
    pub fn reserve_row<const N: usize>() -> Result<[Self; N]> {
        let directory = env::temp_dir().join("raft-tests-ports");
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        let rows = RANGE.len() / N;
        let offset = RandomState::new().hash_one(()) as usize % rows;
        for row in 0..rows {
            let first = RANGE.start + ((offset + row) % rows * N) as u16;
            let row: Vec<Self> = (first..)
                .take(N)
                .map_while(|number| Self::try_reserve(&directory, number).transpose())
                .collect::<Result<_>>()?;
            if let Ok(row) = row.try_into() {
                return Ok(row);
            }
        }
        bail!("no {N} ports in a row are free in {RANGE:?}");
    }

    fn try_reserve(directory: &Path, number: u16) -> Result<Option<Self>> {
        let path = directory.join(number.to_string());
        let reservation = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let is_ours = reservation.try_lock().is_ok() && is_free(number);
        Ok(is_ours.then_some(Self { number, _reservation: reservation }))
    }

    /// The number of the port.
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
    fn reserved_port_is_unique() {
        let ports: Vec<Port> = (0..50).map(|_| Port::reserve().unwrap()).collect();
        let numbers: BTreeSet<u16> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), 50);
    }

    #[test]
    fn port_range_is_contiguous() {
        let [first, second, third] = Port::reserve_row().unwrap();
        assert_eq!(second.number(), first.number() + 1);
        assert_eq!(third.number(), first.number() + 2);
    }

    #[test]
    fn used_port_is_not_free() {
        let port = Port::reserve().unwrap();
        assert!(is_free(port.number()));
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, port.number())).unwrap();
        assert!(!is_free(port.number()));
        drop(tcp);
        let _udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, port.number())).unwrap();
        assert!(!is_free(port.number()));
    }
}
