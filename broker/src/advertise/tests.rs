//! Checks of dialling oneself, over loopback.

use clap::Parser;
use orbitmq_common::net::client::answer_hello;
use orbitmq_common::net::connection::{ConnectionOptions, Handler, Outcome};
use orbitmq_common::net::peer::Peer;
use orbitmq_common::net::server::{bind, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::{Arguments, Config};
use crate::node::Node;

const PATIENCE: Duration = Duration::from_secs(20);

/// A server of frames that is no broker.
struct Stranger;

impl Handler for Stranger {
    fn call(&self, _: &Arc<Peer>, request: Frame) -> Outcome {
        Outcome::Answer(answer_hello(&request))
    }
}

/// An address that nobody listens on: bound, and never accepting.
fn closed_address() -> (TcpSocket, String) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    (socket, address)
}

async fn get(node: &Node, path: &str) -> String {
    let mut stream = TcpStream::connect(node.monitor().unwrap()).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn a_broker_finds_out_who_answers_under_its_address() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(Config::local(dir.path(), Vec::new())).await.unwrap();
    let (own, address) = (node.broker().advertised.instance, node.address().to_string());
    assert_eq!(dial(&address, own).await, Ok(()));
    assert_eq!(dial(&address, own.wrapping_add(1)).await, Err("another broker answers there".to_owned()));

    let (listener, stop) = (bind("127.0.0.1:0".parse().unwrap()).unwrap(), CancellationToken::new());
    let stranger = listener.local_addr().unwrap().to_string();
    let serving = tokio::spawn(serve(listener, Arc::new(Stranger), ConnectionOptions::default(), 10, stop.clone()));
    assert!(dial(&stranger, own).await.unwrap_err().contains("not a broker"));
    stop.cancel();
    serving.await.unwrap();

    let (_bound, nobody) = closed_address();
    assert!(dial(&nobody, own).await.unwrap_err().contains("cannot connect"));
    assert!(dial("no-such-host.invalid:1", own).await.is_err());
    node.stop().await;
}

#[tokio::test]
async fn an_address_that_leads_nowhere_is_shown_and_does_not_keep_the_broker_from_working() {
    let dir = tempfile::tempdir().unwrap();
    let (_bound, nobody) = closed_address();
    let mut config = Config::local(dir.path(), Vec::new());
    config.advertise_networks = format!("10.0.0.0/8={nobody}").parse().unwrap();
    config.monitor = Some("127.0.0.1:0".parse().unwrap());
    let node = Node::start(config).await.unwrap();
    let noticed = async {
        while node.broker().advertised.troubles().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, noticed).await.expect("the trouble is noticed");
    let ready = get(&node, "/readyz").await;
    assert!(ready.contains("200 OK") && ready.contains(&format!("warning: advertised address {nobody}")), "{ready}");
    assert!(get(&node, "/metrics").await.contains("\norbitmq_advertised_unreachable 1\n"));
    node.stop().await;
}

#[test]
fn settings_that_cannot_be_used_are_named_with_their_place_and_cure() {
    let set = |value: &str| {
        let pair = format!("advertise_networks={value}");
        Config::gather(Arguments::parse_from(["broker", "--set", &pair]), [])
    };
    let error = set("10.0.0.9/8=10.0.0.9:10911").unwrap_err().to_string();
    for part in ["--set", "advertise_networks", "the network is 10.0.0.0/8"] {
        assert!(error.contains(part), "{error}");
    }
    let config = set("172.18.0.0/16=172.18.0.4:10911, 10.0.0.0/8=10.1.2.3:10911").unwrap();
    assert_eq!(config.advertise_networks.seen_from("10.9.9.9".parse().unwrap()), Some("10.1.2.3:10911"));
}
