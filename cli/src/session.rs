//! The cluster as commands ask it: name servers one after the other, brokers by name.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use orbitmq_common::net::client::{Client, ClientOptions, no_connection_within};
use orbitmq_common::protocol::body::kv::KvTable;
use orbitmq_common::protocol::body::route::{BrokerData, ClusterInfo, MASTER_ID, TopicRoute};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::nameserver::RouteRequest;
use orbitmq_common::protocol::relaxed;
use orbitmq_common::route::finder::split_nameservers;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::failure::{Failure, Server};

/// No fields.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Nothing {}

/// A question that any server may be asked.
#[derive(Debug)]
pub struct Question<'a, T> {
    /// Its kind.
    pub kind: i32,
    /// Its fields.
    pub fields: &'a T,
    /// Its body.
    pub body: Bytes,
}

impl<'a, T: Serialize> Question<'a, T> {
    /// A question without a body.
    pub fn new(kind: i32, fields: &'a T) -> Self {
        Self { kind, fields, body: Bytes::new() }
    }
}

/// A broker that takes messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Master {
    /// Its name.
    pub name: String,
    /// Its cluster.
    pub cluster: String,
    /// Its `host:port`.
    pub address: String,
}

/// Connections to one cluster.
#[derive(Debug)]
pub struct Session {
    client: Client,
    nameservers: Vec<String>,
    timeout: Duration,
}

impl Session {
    /// A session with the cluster of these name servers.
    ///
    /// # Errors
    /// No name server is given, or one that is none.
    pub fn new(nameservers: &str, timeout: Duration) -> Result<Self, Failure> {
        let nameservers = split_nameservers([nameservers]);
        if nameservers.is_empty() {
            return Err(Failure::Usage(
                "no name server is given; name at least one: --nameserver host:port".to_owned(),
            ));
        }
        if let Some(bad) = nameservers.iter().find(|address| !is_address(address)) {
            return Err(Failure::Usage(format!("--nameserver '{bad}' is not host:port, such as 127.0.0.1:9876")));
        }
        let options = ClientOptions { connect_timeout: timeout, ..ClientOptions::default() };
        Ok(Self { client: Client::new(options), nameservers, timeout })
    }

    /// The name servers, `host:port` each.
    pub fn nameservers(&self) -> &[String] {
        &self.nameservers
    }

    /// How long one answer may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Asks a server and takes any answer, also one that refuses.
    ///
    /// # Errors
    /// No answer comes within `deadline`.
    pub async fn exchange<T: Serialize>(
        &self,
        server: Server,
        address: &str,
        question: &Question<'_, T>,
        deadline: Duration,
    ) -> Result<Frame, Failure> {
        let failed = |cause| Failure::Call { server, cause };
        let link = self.client.link(address).await.map_err(failed)?;
        let frame = link.request(question.kind).with_fields(question.fields).with_body(question.body.clone());
        link.call(frame, deadline).await.map_err(failed)
    }

    /// Whether anybody listens at an address.
    ///
    /// # Errors
    /// Nobody does, or the way there is shut.
    pub async fn reaches(&self, address: &str) -> Result<(), String> {
        match tokio::time::timeout(self.timeout, tokio::net::TcpStream::connect(address)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(no_connection_within(self.timeout)),
        }
    }

    async fn ask<T: Serialize>(
        &self,
        server: Server,
        address: &str,
        question: &Question<'_, T>,
    ) -> Result<Frame, Failure> {
        let answer = self.exchange(server, address, question, self.timeout).await?;
        if answer.code == response::SUCCESS {
            return Ok(answer);
        }
        Err(Failure::Refused {
            address: address.to_owned(),
            kind: question.kind,
            code: answer.code,
            remark: answer.remark.unwrap_or_default(),
        })
    }

    /// Asks a broker.
    ///
    /// # Errors
    /// It does not answer, or refuses.
    pub async fn broker<T: Serialize>(&self, address: &str, question: &Question<'_, T>) -> Result<Frame, Failure> {
        self.ask(Server::Broker, address, question).await
    }

    /// Asks a broker for a JSON body.
    ///
    /// # Errors
    /// See [`Session::broker`]; or the body does not parse.
    pub async fn broker_body<B: DeserializeOwned, T: Serialize>(
        &self,
        address: &str,
        question: &Question<'_, T>,
    ) -> Result<B, Failure> {
        let answer = self.broker(address, question).await?;
        relaxed::parse(&answer.body).map_err(|error| Failure::answer(address, error))
    }

    /// Asks the name servers, one after the other, until one answers; its address comes with the answer.
    ///
    /// # Errors
    /// None answers, or the one that does refuses.
    pub async fn nameserver<T: Serialize>(&self, question: &Question<'_, T>) -> Result<(Frame, &str), Failure> {
        let mut last = None;
        for address in &self.nameservers {
            match self.ask(Server::NameServer, address, question).await {
                Ok(answer) => return Ok((answer, address)),
                Err(failure @ Failure::Call { .. }) => last = Some(failure),
                Err(failure) => return Err(failure),
            }
        }
        Err(last.unwrap_or_else(|| Failure::other("no name server is given")))
    }

    /// Tells every name server, for each keeps its own books.
    ///
    /// # Errors
    /// Some name server does not answer, or refuses; the others were told all the same.
    pub async fn all_nameservers<T: Serialize>(&self, question: &Question<'_, T>) -> Result<(), Failure> {
        let mut failed = None;
        for address in &self.nameservers {
            if let Err(failure) = self.ask(Server::NameServer, address, question).await {
                failed = failed.or(Some(failure));
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// All brokers.
    ///
    /// # Errors
    /// See [`Session::nameserver`].
    pub async fn cluster(&self) -> Result<ClusterInfo, Failure> {
        let (answer, address) = self.nameserver(&Question::new(request::GET_BROKER_CLUSTER_INFO, &Nothing {})).await?;
        relaxed::parse(&answer.body).map_err(|error| Failure::answer(address, error))
    }

    /// All brokers that take messages; at least one.
    ///
    /// # Errors
    /// See [`Session::nameserver`]; or there is none.
    pub async fn masters(&self) -> Result<Vec<Master>, Failure> {
        let masters = masters(self.cluster().await?.broker_addr_table);
        if masters.is_empty() {
            let servers = self.nameservers.join(", ");
            return Err(Failure::other(format!(
                "no master broker is registered with {servers}: start one that names it in its 'nameserver' setting"
            )));
        }
        Ok(masters)
    }

    /// Where the queues of a topic are.
    ///
    /// # Errors
    /// The topic is not known, or no name server answers.
    pub async fn route(&self, topic: &str) -> Result<TopicRoute, Failure> {
        let fields = RouteRequest { topic: topic.into(), accept_standard_json_only: Some(true) };
        let (answer, address) = self.nameserver(&Question::new(request::GET_ROUTEINFO_BY_TOPIC, &fields)).await?;
        relaxed::parse(&answer.body).map_err(|error| Failure::answer(address, error))
    }

    /// The masters that hold a topic; at least one.
    ///
    /// # Errors
    /// See [`Session::route`]; or all of them are away.
    pub async fn masters_of(&self, topic: &str) -> Result<Vec<Master>, Failure> {
        let route = self.route(topic).await?;
        let table = route.broker_datas.into_iter().map(|data| (data.broker_name.clone(), data)).collect();
        let masters = masters(table);
        if masters.is_empty() {
            return Err(Failure::other(format!("no broker that holds '{topic}' has a master now: start it again")));
        }
        Ok(masters)
    }

    /// A broker's settings, by RocketMQ's names.
    ///
    /// # Errors
    /// See [`Session::broker`].
    pub async fn settings(&self, address: &str) -> Result<BTreeMap<String, String>, Failure> {
        let answer = self.broker(address, &Question::new(request::GET_BROKER_CONFIG, &Nothing {})).await?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        Ok(properties(&text))
    }

    /// A broker's figures, by RocketMQ's names.
    ///
    /// # Errors
    /// See [`Session::broker`].
    pub async fn figures(&self, address: &str) -> Result<BTreeMap<String, String>, Failure> {
        let question = Question::new(request::GET_BROKER_RUNTIME_INFO, &Nothing {});
        Ok(self.broker_body::<KvTable, _>(address, &question).await?.table)
    }
}

fn masters(table: BTreeMap<String, BrokerData>) -> Vec<Master> {
    let of = |(name, mut data): (String, BrokerData)| {
        let address = data.broker_addrs.remove(&MASTER_ID)?;
        Some(Master { name, cluster: data.cluster, address })
    };
    table.into_iter().filter_map(of).collect()
}

fn is_address(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// Reads `key=value` lines.
fn properties(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let pairs = lines.filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_checked() {
        let timeout = Duration::from_secs(1);
        for bad in ["", ";", "host", "host:", ":9876", "host:99999", "a:1;b"] {
            assert!(matches!(Session::new(bad, timeout), Err(Failure::Usage(_))), "{bad}");
        }
    }

    #[tokio::test]
    async fn lists_of_name_servers_are_split() {
        let session = Session::new("a:1;b:2", Duration::from_secs(1)).unwrap();
        assert_eq!(session.nameservers(), ["a:1", "b:2"]);
    }

    #[test]
    fn properties_text_is_read() {
        let table = properties("#comment\na=1\n b = x=y\nnothing\n");
        assert_eq!(
            table.into_iter().collect::<Vec<_>>(),
            [("a".to_owned(), "1".to_owned()), ("b".to_owned(), "x=y".to_owned())]
        );
    }
}
