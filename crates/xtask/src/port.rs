//! Ports on loopback that stay the same when a program is started again, and that nobody else takes meanwhile.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};

use anyhow::bail;

/// Ports that are tried, the first drawn by lot. They lie below the range from which the system picks ports for
/// outgoing connections, so none of those can take one while a program is down.
const RANGE: std::ops::Range<u16> = 12_000..32_000;

/// A port of 127.0.0.1 that is ours until this is dropped, whether a program listens on it or not.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// Holds the name of the port in the abstract name space of the system: other harnesses, in this process or in
    /// another, cannot get the same name. It leaves no file, and goes with the process.
    _claim: UnixListener,
}

impl Port {
    /// Claims a port on which nobody listens.
    pub fn claim() -> anyhow::Result<Self> {
        let first = rand::random_range(RANGE);
        for number in (first..RANGE.end).chain(RANGE.start..first) {
            let name = UnixAddress::from_abstract_name(format!("octopus-harness-port-{number}"))?;
            let Ok(claim) = UnixListener::bind_addr(&name) else { continue };
            if TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok() {
                return Ok(Self { number, _claim: claim });
            }
        }
        bail!("every port from {} to {} is taken", RANGE.start, RANGE.end)
    }

    /// 127.0.0.1 and the port.
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.number).into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_claimed_port_is_not_given_twice() {
        let ports: Vec<Port> = (0..50).map(|_| Port::claim().unwrap()).collect();
        let numbers: HashSet<SocketAddr> = ports.iter().map(Port::address).collect();
        assert_eq!(numbers.len(), ports.len());
        for port in &ports {
            TcpListener::bind(port.address()).expect("nobody listens on a claimed port");
        }
    }
}
