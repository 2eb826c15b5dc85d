//! How a client names itself: its address as servers see it, and an id that no other client has.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};

/// The address of this machine on the way to the first of `servers` that has one.
pub async fn own_address(servers: &[String]) -> IpAddr {
    for server in servers {
        let Ok(found) = tokio::net::lookup_host(server).await else { continue };
        for remote in found {
            if let Some(own) = address_towards(remote) {
                return own;
            }
        }
    }
    IpAddr::V4(Ipv4Addr::LOCALHOST)
}

/// Asks the routing table by connecting a datagram socket, which sends nothing.
fn address_towards(remote: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = if remote.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(remote).ok()?;
    socket.local_addr().ok().map(|own| own.ip())
}

/// An id in RocketMQ's form `ip@instance`, with an instance of its own for every call.
#[must_use]
pub fn client_id(own: IpAddr) -> String {
    format!("{own}@{}#{}", std::process::id(), uuid::Uuid::new_v4().simple())
}
