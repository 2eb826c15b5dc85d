//! Accepts connections and runs each as a task until the server stops.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::net::connection::{self, ConnectionOptions, Handler};
use crate::net::peer::Peer;

const BACKLOG: i32 = 1024;
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Binds a listener; port 0 lets the system choose.
///
/// # Errors
/// The address is taken or not ours; the text says which address it was.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let explain = |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"));
    let socket =
        socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None).map_err(explain)?;
    socket.set_reuse_address(true).map_err(explain)?;
    socket.set_nonblocking(true).map_err(explain)?;
    socket.bind(&address.into()).map_err(explain)?;
    socket.listen(BACKLOG).map_err(explain)?;
    TcpListener::from_std(socket.into()).map_err(explain)
}

/// Sets what every connection of ours has: no delay of small writes, and probes that find a dead other end.
pub(crate) fn tune(stream: &TcpStream) {
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(Duration::from_secs(10));
    let tuned = stream.set_nodelay(true).and_then(|()| socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive));
    if let Err(error) = tuned {
        tracing::debug!(%error, "socket options could not be set");
    }
}

/// Accepts on `listener` until `stop`, then lets each connection finish the requests in hand. Returns when all have ended.
/// At most `max_connections` are open at once; further ones wait in the system's backlog.
pub async fn serve<H: Handler>(
    listener: TcpListener,
    handler: Arc<H>,
    options: ConnectionOptions,
    max_connections: usize,
    stop: CancellationToken,
) {
    let tasks = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(max_connections.min(Semaphore::MAX_PERMITS)));
    let options = Arc::new(options);
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: connections that end make room.
                tracing::warn!(%error, "a connection could not be accepted; trying again");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        tune(&stream);
        let Ok(local) = stream.local_addr() else { continue };
        let (handler, options, stop) = (Arc::clone(&handler), Arc::clone(&options), stop.clone());
        tasks.spawn(async move {
            let (peer, outbox) = Peer::new(remote, local);
            connection::run(stream, &peer, outbox, handler.as_ref(), &options, &stop).await;
            drop(slot);
        });
    }
    drop(listener);
    tasks.close();
    tasks.wait().await;
}
