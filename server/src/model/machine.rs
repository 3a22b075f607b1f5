//! Machines: servers with a Tentacle.

use std::fmt;
use std::str::FromStr;

use contract::Thumbprint;

use crate::clock::Timestamp;
use crate::ids::{EnvironmentId, MachineId, SpaceId};

/// The port a Tentacle listens on where nothing else is said.
pub const TENTACLE_PORT: u16 = 10933;

/// Longest host name, as in the DNS.
const HOST_MAX: usize = 253;

/// Where a machine's Tentacle listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// A DNS name or an IP address, without brackets.
    pub host: String,
    /// A TCP port.
    pub port: u16,
}

/// Why a text is not the address of a Tentacle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not a Tentacle's address: {why} (write it like https://server1.example.com:10933/)")]
pub struct AddressError {
    text: String,
    why: &'static str,
}

impl Address {
    /// The address of `host`, which may be a name or an IP address with or without brackets.
    pub fn new(host: &str, port: u16) -> Result<Self, AddressError> {
        let refuse = |why| Err(AddressError { text: host.chars().take(HOST_MAX).collect(), why });
        let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if bare.is_empty() || bare.len() > HOST_MAX {
            return refuse("the host must have 1 to 253 characters");
        }
        let is_name = bare.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
        if !is_name && bare.parse::<std::net::Ipv6Addr>().is_err() {
            return refuse("the host must be a DNS name or an IP address");
        }
        if port == 0 {
            return refuse("the port must be between 1 and 65535");
        }
        Ok(Self { host: bare.to_ascii_lowercase(), port })
    }

    /// The address as the REST API writes it: `https://host:10933/`.
    pub fn uri(&self) -> String {
        format!("https://{self}/")
    }
}

impl FromStr for Address {
    type Err = AddressError;

    /// Reads `https://host:port/`, `host:port` or `host`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |why| Err(AddressError { text: text.chars().take(HOST_MAX).collect(), why });
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("https") => rest,
            Some(_) => return refuse("the scheme must be https"),
            None => text,
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let after_host = rest.rfind(']').map_or(0, |end| end + 1);
        let (host, port) = match rest[after_host..].rfind(':') {
            Some(colon) if after_host > 0 || rest.matches(':').count() == 1 => {
                let (host, port) = rest.split_at(after_host + colon);
                (host, port[1..].parse::<u16>().ok())
            }
            _ => (rest, Some(TENTACLE_PORT)),
        };
        match port {
            Some(port) => Self::new(host, port),
            None => refuse("the port must be between 1 and 65535"),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// A server with a Tentacle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its id.
    pub id: MachineId,
    /// The space it belongs to.
    pub space: SpaceId,
    /// Its name, unique in its space without regard to case.
    pub name: String,
    /// Its name in addresses.
    pub slug: String,
    /// Where its Tentacle listens.
    pub address: Address,
    /// The certificate its Tentacle must show. Nothing else is spoken to.
    pub thumbprint: Thumbprint,
    /// A disabled machine is shown, but is not checked, upgraded or deployed to.
    pub is_disabled: bool,
    /// The environments it belongs to, at least one, in their order.
    pub environments: Vec<EnvironmentId>,
    /// Its roles, in alphabetical order.
    pub roles: Vec<String>,
    /// When it was added.
    pub created_at: Timestamp,
}

/// What a person or `tentacle register` says of a machine, new or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMachine {
    /// Its name.
    pub name: String,
    /// Where its Tentacle listens.
    pub address: Address,
    /// The certificate its Tentacle must show.
    pub thumbprint: Thumbprint,
    /// See [`Machine::is_disabled`].
    pub is_disabled: bool,
    /// At least one.
    pub environments: Vec<EnvironmentId>,
    /// May be empty.
    pub roles: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_what_they_write() {
        for (text, uri) in [
            ("https://Server1.example.com:10933/", "https://server1.example.com:10933/"),
            ("https://127.0.0.1:4711", "https://127.0.0.1:4711/"),
            ("server1", "https://server1:10933/"),
            ("https://[::1]:1/", "https://[::1]:1/"),
            ("::1", "https://[::1]:10933/"),
            ("[::1]", "https://[::1]:10933/"),
        ] {
            let address: Address = text.parse().expect(text);
            assert_eq!(address.uri(), uri);
            assert_eq!(uri.parse(), Ok(address));
        }
    }

    #[test]
    fn what_is_not_an_address_is_refused() {
        for text in
            ["", "http://a:1", "https://", "a:0", "a:65536", "a:x", "a b", "https://a:1/path", "a@b", "[::1", ":1", "é"]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
