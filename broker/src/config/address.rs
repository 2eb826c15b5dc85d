//! Addresses of this machine and of names.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// `host` or `host:port` as an address.
pub(super) fn resolve(key: &str, host: &str, port: u16) -> Result<SocketAddr, String> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let with_port = if has_port { host.to_owned() } else { format!("{host}:{port}") };
    let mut addresses = with_port.to_socket_addrs().map_err(|error| format!("{key} = '{host}': {error}"))?;
    addresses.next().ok_or_else(|| format!("{key} = '{host}': the name has no address"))
}

/// The address of the interface that leads outwards; loopback when there is none. No packet is sent.
pub(super) fn outward() -> IpAddr {
    let loopback = IpAddr::from([127, 0, 0, 1]);
    let Ok(socket) = std::net::UdpSocket::bind("0.0.0.0:0") else { return loopback };
    let found = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    found.map_or(loopback, |address| address.ip())
}
