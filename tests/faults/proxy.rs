//! The network between the nodes of a cluster: one proxy per listening port, one condition per direction of each pair.
//!
//! Whoever connects is recognised by the address it connects from, so that one advertised address serves all.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A broker: its group, from 0 on, and its number there, from 1 on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member {
    /// The group.
    pub group: u8,
    /// The number.
    pub id: u8,
}

impl Member {
    /// Name of the member's group.
    #[must_use]
    pub fn group_name(self) -> String {
        group_name(self.group)
    }
}

/// Name of a group.
#[must_use]
pub fn group_name(group: u8) -> String {
    format!("broker-{}", char::from(b'a' + group))
}

/// Who takes part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Node {
    /// Everything in this process.
    Clients,
    /// A name server, from 1 on.
    Nameserver(u8),
    /// A broker.
    Broker(Member),
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clients => write!(f, "clients"),
            Self::Nameserver(number) => write!(f, "n{number}"),
            Self::Broker(Member { group, id }) => write!(f, "{}{id}", char::from(b'a' + group)),
        }
    }
}

/// What happens to bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// They arrive.
    Open,
    /// Connections are reset, new ones too.
    Cut,
    /// They stay under way, as lost packets that are sent again do; senders notice nothing.
    Stalled,
    /// Connections are accepted and silent; when this ends they are reset, as after the restart of a host.
    HalfOpen,
    /// Each piece takes so much longer.
    Slow(Duration),
}

type Wire = watch::Sender<Condition>;

/// All proxies and wires.
pub struct Net {
    host: Ipv4Addr,
    wires: Mutex<HashMap<(Node, Node), Arc<Wire>>>,
    sources: Mutex<HashMap<IpAddr, Node>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Net {
    /// Proxies listen at this loopback address.
    #[must_use]
    pub fn new(host: Ipv4Addr) -> Arc<Self> {
        let (wires, sources) = (Mutex::default(), Mutex::default());
        Arc::new(Self { host, wires, sources, tasks: TaskTracker::new(), stop: CancellationToken::new() })
    }

    /// An address of its own from which a node is to connect.
    pub fn source(&self, node: Node) -> Ipv4Addr {
        let mut sources = self.sources.lock();
        let number = u32::try_from(sources.len()).unwrap() + 1;
        let source = Ipv4Addr::from_bits(self.host.to_bits() + number);
        sources.insert(source.into(), node);
        source
    }

    /// Opens a proxy of a node's port and returns its address.
    pub async fn expose(self: &Arc<Self>, node: Node, real: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind((self.host, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let net = Arc::clone(self);
        self.tasks.spawn(self.stop.clone().run_until_cancelled_owned(async move {
            while let Ok((stream, peer)) = listener.accept().await {
                let stop = net.stop.clone();
                let serving = Arc::clone(&net).serve(stream, peer, node, real);
                net.tasks.spawn(stop.run_until_cancelled_owned(serving));
            }
        }));
        address
    }

    /// Sets what happens to bytes from one node to another.
    pub fn set(&self, from: Node, to: Node, condition: Condition) {
        self.wire(from, to).send_replace(condition);
    }

    /// Sets both directions.
    pub fn set_both(&self, one: Node, other: Node, condition: Condition) {
        self.set(one, other, condition);
        self.set(other, one, condition);
    }

    /// Everything arrives again.
    pub fn heal(&self) {
        for wire in self.wires.lock().values() {
            wire.send_replace(Condition::Open);
        }
    }

    /// Ends all connections and proxies.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn wire(&self, from: Node, to: Node) -> Arc<Wire> {
        let mut wires = self.wires.lock();
        Arc::clone(wires.entry((from, to)).or_insert_with(|| Arc::new(watch::channel(Condition::Open).0)))
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream, peer: SocketAddr, to: Node, real: SocketAddr) {
        let from = self.sources.lock().get(&peer.ip()).copied().unwrap_or(Node::Clients);
        let (there, back) = (self.wire(from, to), self.wire(to, from));
        // The conditions come first, so that nothing held back slips through when one ends.
        let well = tokio::select! {
            biased;
            () = broken(there.subscribe()) => false,
            () = broken(back.subscribe()) => false,
            well = carry(&mut stream, real, there.subscribe(), back.subscribe()) => well,
        };
        if !well {
            let _ = stream.set_zero_linger();
        }
    }
}

/// Returns when connections of this wire have to end.
async fn broken(mut wire: watch::Receiver<Condition>) {
    let now = wire.wait_for(|now| matches!(now, Condition::Cut | Condition::HalfOpen)).await.map(|now| *now);
    if matches!(now, Ok(Condition::HalfOpen)) {
        let _ = wire.wait_for(|now| *now != Condition::HalfOpen).await;
    }
}

/// Carries bytes until one side ends; `false` when the other end cannot be reached.
async fn carry(
    near: &mut TcpStream,
    real: SocketAddr,
    mut there: watch::Receiver<Condition>,
    mut back: watch::Receiver<Condition>,
) -> bool {
    // A connection over a stalled wire comes about when packets arrive again, not before.
    if pass(&mut there).await.is_none() || pass(&mut back).await.is_none() {
        return false;
    }
    let Ok(mut far) = TcpStream::connect(real).await else { return false };
    let _ = (near.set_nodelay(true), far.set_nodelay(true));
    let ((near_from, near_to), (far_from, far_to)) = (near.split(), far.split());
    tokio::select! {
        () = pump(near_from, far_to, there) => {}
        () = pump(far_from, near_to, back) => {}
    }
    true
}

/// Waits until bytes may pass, and as long as they take; `None` at the end of the wire.
async fn pass(wire: &mut watch::Receiver<Condition>) -> Option<()> {
    let passing = wire.wait_for(|now| matches!(now, Condition::Open | Condition::Slow(_))).await;
    let now = *passing.ok()?;
    if let Condition::Slow(longer) = now {
        tokio::time::sleep(longer).await;
    }
    Some(())
}

async fn pump(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, mut wire: watch::Receiver<Condition>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if pass(&mut wire).await.is_none() || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    // What ends on one side ends on the other, but not before the same condition would let it through.
    let _ = pass(&mut wire).await;
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);
    const NEVER: Duration = Duration::from_millis(100);
    const SERVER: Node = Node::Nameserver(1);

    /// A server that sends back what it gets, behind a proxy.
    async fn echo() -> (Arc<Net>, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let real = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        let net = Net::new(Ipv4Addr::LOCALHOST);
        let address = net.expose(SERVER, real).await;
        (net, address)
    }

    async fn said(stream: &mut TcpStream, within: Duration) -> Option<std::io::Result<u8>> {
        tokio::time::timeout(within, stream.read_u8()).await.ok()
    }

    async fn connected(address: SocketAddr) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_u8(1).await.unwrap();
        assert_eq!(said(&mut stream, PATIENCE).await.unwrap().unwrap(), 1);
        stream
    }

    #[tokio::test]
    async fn a_cut_ends_connections_and_refuses_new_ones() {
        let (net, address) = echo().await;
        let mut stream = connected(address).await;
        net.set(SERVER, Node::Clients, Condition::Cut);
        assert!(said(&mut stream, PATIENCE).await.unwrap().is_err());
        let mut late = TcpStream::connect(address).await.unwrap();
        assert!(said(&mut late, PATIENCE).await.unwrap().is_err());
        net.heal();
        connected(address).await;
        net.close().await;
    }

    #[tokio::test]
    async fn one_way_loss_holds_bytes_back() {
        for (from, to) in [(Node::Clients, SERVER), (SERVER, Node::Clients)] {
            let (net, address) = echo().await;
            let mut stream = connected(address).await;
            net.set(from, to, Condition::Stalled);
            stream.write_u8(2).await.unwrap();
            assert!(said(&mut stream, NEVER).await.is_none());
            net.heal();
            assert_eq!(said(&mut stream, PATIENCE).await.unwrap().unwrap(), 2);
        }
    }

    #[tokio::test]
    async fn half_open_is_silent_and_ends_in_a_reset() {
        let (net, address) = echo().await;
        let mut stream = connected(address).await;
        net.set(Node::Clients, SERVER, Condition::HalfOpen);
        stream.write_u8(2).await.unwrap();
        let mut late = TcpStream::connect(address).await.unwrap();
        late.write_u8(3).await.unwrap();
        assert!(said(&mut stream, NEVER).await.is_none() && said(&mut late, NEVER).await.is_none());
        net.heal();
        assert!(said(&mut stream, PATIENCE).await.unwrap().is_err());
        assert!(said(&mut late, PATIENCE).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn whoever_connects_is_recognised() {
        let (net, address) = echo().await;
        let node = Node::Broker(Member { group: 0, id: 2 });
        let source = net.source(node);
        net.set(node, SERVER, Condition::Cut);
        connected(address).await;
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        assert!(said(&mut stream, PATIENCE).await.unwrap().is_err());
    }
}
