//! All queues of a topic, at every broker, as the name servers tell them; for those who ask which of them are theirs.

use std::time::Duration;

use hashbrown::HashMap;
use orbitmq_common::net::client::{Client, ClientOptions};
use orbitmq_common::protocol::body::group::MessageQueue;
use orbitmq_common::protocol::body::route::{TopicRoute, perm};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::header::nameserver::RouteRequest;
use orbitmq_common::protocol::relaxed;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::broker::Broker;

const DEADLINE: Duration = Duration::from_secs(1);
/// A route is asked for anew when it is older.
const FRESH: Duration = Duration::from_secs(1);
/// Routes remembered at most.
const MOST: usize = 4096;

/// Routes by topic, and the connections by which they come.
#[derive(Default)]
pub struct Routes {
    client: Mutex<Option<std::sync::Arc<Client>>>,
    known: Mutex<HashMap<String, (Instant, Vec<MessageQueue>)>>,
}

impl Routes {
    /// Readable queues of a topic, sorted. `None`: no name server knows the topic. A broker without name servers knows its own.
    pub async fn queues(&self, broker: &Broker, topic: &str) -> Option<Vec<MessageQueue>> {
        if broker.config.nameservers.is_empty() {
            let config = broker.topics.get(topic)?;
            return Some(expand(topic, &broker.config.name, config.read_queue_nums).collect());
        }
        let known = self.known.lock().get(topic).cloned();
        if let Some((at, queues)) = &known
            && at.elapsed() < FRESH
        {
            return Some(queues.clone());
        }
        let route = self.ask(broker, topic).await;
        // With no name server at hand the last known route is better than none.
        let Some(route) = route else { return known.map(|(_, queues)| queues) };
        let mut queues: Vec<MessageQueue> = Vec::new();
        for data in route.queue_datas.iter().filter(|data| data.perm & perm::READ != 0) {
            queues.extend(expand(topic, &data.broker_name, data.read_queue_nums));
        }
        queues.sort_unstable_by(|a, b| (&a.broker_name, a.queue_id).cmp(&(&b.broker_name, b.queue_id)));
        let mut known = self.known.lock();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(topic.to_owned(), (Instant::now(), queues.clone()));
        Some(queues)
    }

    async fn ask(&self, broker: &Broker, topic: &str) -> Option<TopicRoute> {
        let client = std::sync::Arc::clone(
            self.client.lock().get_or_insert_with(|| std::sync::Arc::new(Client::new(ClientOptions::default()))),
        );
        for address in &broker.config.nameservers {
            let Ok(Ok(link)) = tokio::time::timeout(DEADLINE, client.link(address)).await else { continue };
            let fields = RouteRequest { topic: topic.into(), ..RouteRequest::default() };
            let frame = link.request(request::GET_ROUTEINFO_BY_TOPIC).with_fields(&fields);
            match link.call(frame, DEADLINE).await {
                Ok(answer) if answer.code == response::SUCCESS => {
                    if let Ok(route) = relaxed::parse(&answer.body) {
                        return Some(route);
                    }
                }
                Ok(_) => {}
                Err(error) => tracing::debug!(nameserver = address, topic, %error, "no route"),
            }
        }
        None
    }
}

fn expand<'a>(topic: &'a str, broker: &'a str, queues: i32) -> impl Iterator<Item = MessageQueue> + 'a {
    (0..queues).map(move |queue_id| MessageQueue { broker_name: broker.to_owned(), queue_id, topic: topic.to_owned() })
}
