//! Networks in CIDR form, and the address under which a daemon is reached from each.

use std::fmt::{self, Display};
use std::net::IpAddr;
use std::str::FromStr;

/// Networks that one daemon may list: each can give a name server one more answer to keep.
const MOST: usize = 64;

/// Text that names no network, or no address for it. The text says what is wrong and what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NetworkError(String);

/// A network such as `10.0.0.0/8` or `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

impl Network {
    /// Whether an address lies in the network. An IPv4 address in IPv6 clothes (`::ffff:10.0.0.1`) counts as IPv4.
    #[must_use]
    pub fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.base.is_ipv4() && cut(address, self.prefix) == self.base
    }
}

impl Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let parts = text.split_once('/').and_then(|(base, prefix)| Some((base.parse().ok()?, prefix.parse().ok()?)));
        let Some((base, prefix)): Option<(IpAddr, u8)> = parts else {
            return Err(NetworkError(format!("'{text}' is not a network such as 10.0.0.0/8 or fd00::/8")));
        };
        let longest = if base.is_ipv4() { 32 } else { 128 };
        if prefix > longest {
            return Err(NetworkError(format!("'{text}': the number behind the slash is at most {longest}")));
        }
        let network = Self { base: cut(base, prefix), prefix };
        if network.base != base {
            return Err(NetworkError(format!("'{text}' is an address within a network; the network is {network}")));
        }
        Ok(network)
    }
}

/// The address with all bits behind the prefix cleared.
fn cut(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() & !u32::MAX.checked_shr(prefix).unwrap_or(0)).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::MAX.checked_shr(prefix).unwrap_or(0)).into()),
    }
}

/// The networks of a list, the longest prefix first, so that the first that contains an address is the one that counts.
pub fn sort(networks: &mut Vec<Network>) {
    networks.sort_unstable_by(|a, b| b.prefix.cmp(&a.prefix).then(a.base.cmp(&b.base)));
    networks.dedup();
}

/// Under which `host:port` a daemon is reached from which network: `172.18.0.0/16=172.18.0.4:10911,10.0.0.0/8=10.1.2.3:10911`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// The longest prefix first.
    by_network: Vec<(Network, String)>,
}

impl Addresses {
    /// Whether all networks reach the daemon under its one default address.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_network.is_empty()
    }

    /// The `host:port` that reaches the daemon from `address`, by the longest prefix; `None`: the default address does.
    #[must_use]
    pub fn seen_from(&self, address: IpAddr) -> Option<&str> {
        self.by_network.iter().find(|(network, _)| network.contains(address)).map(|(_, at)| at.as_str())
    }

    /// Networks and the `host:port` for each.
    pub fn iter(&self) -> impl Iterator<Item = (Network, &str)> {
        self.by_network.iter().map(|(network, at)| (*network, at.as_str()))
    }
}

impl Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (network, at)) in self.by_network.iter().enumerate() {
            write!(f, "{}{network}={at}", if n == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl FromStr for Addresses {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let mut by_network: Vec<(Network, String)> = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let Some((network, at)) = part.split_once('=') else {
                return Err(NetworkError(format!(
                    "'{part}' is not NETWORK=HOST:PORT, such as 10.0.0.0/8=10.1.2.3:10911; several are separated by commas"
                )));
            };
            let (network, at): (Network, _) = (network.trim().parse()?, at.trim());
            if !is_host_and_port(at) {
                return Err(NetworkError(format!(
                    "'{at}' is not HOST:PORT as clients in {network} could reach it, such as 10.1.2.3:10911"
                )));
            }
            if by_network.iter().any(|(known, _)| *known == network) {
                return Err(NetworkError(format!("network {network} is listed twice; name one address for it")));
            }
            by_network.push((network, at.to_owned()));
        }
        if by_network.len() > MOST {
            return Err(NetworkError(format!("{} networks are listed, {MOST} are allowed", by_network.len())));
        }
        by_network.sort_by(|(a, _), (b, _)| b.prefix.cmp(&a.prefix).then(a.base.cmp(&b.base)));
        Ok(Self { by_network })
    }
}

/// Whether text is `host:port` in the form that every client reads: some cut route answers at commas, quotes and braces.
#[must_use]
pub fn is_host_and_port(text: &str) -> bool {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
    matches!(port, Some(Ok(_))) && !text.contains([',', '"', '{', '}', '=']) && !text.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_longest_prefix_wins() {
        let addresses: Addresses =
            "0.0.0.0/0=far:1, 10.0.0.0/8=ten:1,10.1.0.0/16=near:1,10.1.2.3/32=self:1,fd00::/8=[fd00::1]:1"
                .parse()
                .unwrap();
        for (from, at) in [
            ("10.1.2.3", Some("self:1")),
            ("10.1.2.4", Some("near:1")),
            ("10.2.0.1", Some("ten:1")),
            ("::ffff:10.2.0.1", Some("ten:1")),
            ("11.0.0.0", Some("far:1")),
            ("fd12::7", Some("[fd00::1]:1")),
            ("fe80::1", None),
        ] {
            assert_eq!(addresses.seen_from(ip(from)), at, "{from}");
        }
        assert_eq!(addresses.to_string().parse(), Ok(addresses));
    }

    #[test]
    fn nothing_is_a_list_too() {
        let addresses: Addresses = " ,".parse().unwrap();
        assert!(addresses.is_empty());
        assert_eq!(addresses.seen_from(ip("10.0.0.1")), None);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (text, cause) in [
            ("10.0.0.0/8", "not NETWORK=HOST:PORT"),
            ("10.0.0.0=a:1", "not a network"),
            ("ten/8=a:1", "not a network"),
            ("10.0.0.0/33=a:1", "at most 32"),
            ("::/129=a:1", "at most 128"),
            ("10.1.0.0/8=a:1", "the network is 10.0.0.0/8"),
            ("10.0.0.0/8=a", "not HOST:PORT"),
            ("10.0.0.0/8=:1", "not HOST:PORT"),
            ("10.0.0.0/8=a:99999", "not HOST:PORT"),
            ("10.0.0.0/8=a b:1", "not HOST:PORT"),
            ("10.0.0.0/8=a:1,10.0.0.0/8=b:1", "listed twice"),
        ] {
            let error = text.parse::<Addresses>().unwrap_err().to_string();
            assert!(error.contains(cause), "{text}: {error}");
        }
        let many: Vec<String> = (0..65).map(|n| format!("10.{n}.0.0/16=a:1")).collect();
        assert!(many.join(",").parse::<Addresses>().is_err());
    }

    proptest! {
        #[test]
        fn a_network_contains_what_shares_its_first_bits(base: u32, other: u32, prefix in 0_u8..=32) {
            let network = Network { base: cut(IpAddr::V4(base.into()), prefix), prefix };
            let same = (0..u32::from(prefix)).all(|bit| (base ^ other).leading_zeros() > bit);
            prop_assert_eq!(network.contains(IpAddr::V4(other.into())), same);
            prop_assert_eq!(network.to_string().parse(), Ok(network));
        }

        #[test]
        fn garbage_is_refused_quietly(text in "[0-9a-f:./=,]{0,40}") {
            if let Ok(addresses) = text.parse::<Addresses>() {
                prop_assert_eq!(addresses.to_string().parse(), Ok(addresses));
            }
        }
    }
}
