//! Checks that clients reach this broker under the addresses that they are told, and says so when they cannot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::net::client::{Client, ClientOptions, hello};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::{Encoding, Frame};
use orbitmq_common::protocol::header::nameserver::Hello;
use parking_lot::Mutex;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;

const DEADLINE: Duration = Duration::from_secs(3);
/// Addresses that did not lead here are tried again so often.
const AGAIN: Duration = Duration::from_secs(30);

/// Which start of which broker this is, and the addresses that do not lead to it.
#[derive(Debug)]
pub struct Advertised {
    /// A number that no other running broker has; it shows who answers under an address.
    instance: i64,
    /// By address, why it does not lead here.
    troubles: Mutex<BTreeMap<String, String>>,
}

impl Default for Advertised {
    fn default() -> Self {
        Self { instance: fastrand::i64(..), troubles: Mutex::default() }
    }
}

impl Advertised {
    /// Answers HELLO.
    #[must_use]
    pub fn answer_hello(&self, frame: &Frame) -> Frame {
        frame.answer(response::SUCCESS).with_fields(&hello(Some(self.instance)))
    }

    /// Advertised addresses that did not lead here when they were tried last, each with the cause.
    #[must_use]
    pub fn troubles(&self) -> Vec<String> {
        self.troubles.lock().iter().map(|(address, cause)| format!("{address}: {cause}")).collect()
    }

    /// Keeps what a try of an address gave; a change is logged once.
    fn note(&self, address: &str, tried: Result<(), String>) {
        let mut troubles = self.troubles.lock();
        match tried {
            Ok(()) => {
                if troubles.remove(address).is_some() {
                    tracing::info!(address, "clients reach this broker under its advertised address now");
                }
            }
            Err(cause) => {
                let before = troubles.insert(address.to_owned(), cause.clone());
                if before.as_ref() != Some(&cause) {
                    tracing::warn!(
                        address,
                        cause,
                        "clients are told this address, and it does not lead to this broker from here; correct \
                         advertise or advertise_networks, publish the port, or open the firewall (clients elsewhere may \
                         still reach it if only the way back to this machine itself is closed)"
                    );
                }
            }
        }
    }
}

/// Tries the advertised addresses in the background, and those that do not lead here again and again.
pub fn start(broker: &Arc<Broker>, tasks: &TaskTracker) {
    let mut addresses = vec![broker.address.to_string()];
    addresses.extend(broker.config.advertise_networks.iter().map(|(_, address)| address.to_owned()));
    addresses.sort_unstable();
    addresses.dedup();
    for address in addresses {
        let broker = Arc::clone(broker);
        tasks.spawn(async move {
            tokio::select! {
                () = until_reached(&broker.advertised, &address) => {}
                () = broker.stop.cancelled() => {}
            }
        });
    }
}

async fn until_reached(advertised: &Advertised, address: &str) {
    loop {
        let tried = dial(address, advertised.instance).await;
        let reached = tried.is_ok();
        advertised.note(address, tried);
        if reached {
            return;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Asks who answers under an address, over a connection of its own.
async fn dial(address: &str, instance: i64) -> Result<(), String> {
    let client = Client::new(ClientOptions { encoding: Some(Encoding::Json), ..ClientOptions::default() });
    let asked = async {
        let link = client.link(address).await.map_err(|error| error.to_string())?;
        let question = link.request(request::HELLO).with_fields(&hello(None));
        link.call(question, DEADLINE).await.map_err(|error| error.to_string())
    };
    let answer = match tokio::time::timeout(DEADLINE, asked).await {
        Ok(answer) => answer?,
        Err(_) => return Err(format!("nobody answers within {DEADLINE:?}")),
    };
    match answer.fields::<Hello>().ok().and_then(|said| said.instance) {
        Some(said) if said == instance => Ok(()),
        Some(_) => Err("another broker answers there".to_owned()),
        None => Err("something answers there that is not a broker of OrbitMQ".to_owned()),
    }
}

#[cfg(test)]
mod tests;
