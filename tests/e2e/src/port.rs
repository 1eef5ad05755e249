//! Ports that nobody else has, and that nobody else will get while a node is down.

use std::collections::hash_map::RandomState;
use std::env;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Below the range from which systems hand out ports by themselves: a port from there could be
/// taken by an outgoing connection, just while its node is being restarted.
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
        let [port] = Self::reserve_row()?;
        Ok(port)
    }

    /// Reserves several whose numbers follow each other.
    ///
    /// # Errors
    ///
    /// If there is no such row, or the reservations can't be written down.
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
    fn port_range_is_contiguous() {
        let [first, second, third] = Port::reserve_row().unwrap();
        assert_eq!(second.number(), first.number() + 1);
        assert_eq!(third.number(), first.number() + 2);
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
