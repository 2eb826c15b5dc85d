//! Which member of a group holds which queue, as the members themselves say (307).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use orbitmq_common::protocol::body::running::RunningInfo;
use orbitmq_common::protocol::code::request;
use serde::Serialize;

use crate::session::{Master, Question, Session};

/// Members that are asked; of a larger group the others are not.
const ASKED: usize = 50;
/// A member that runs tells at once.
const PATIENCE: Duration = Duration::from_secs(2);

/// A queue, by the name of its broker and its number.
pub type QueueName = (String, i32);

/// What members say.
#[derive(Debug, Default)]
pub struct Holders {
    /// Who holds a queue of the topic.
    pub by_queue: BTreeMap<QueueName, BTreeSet<String>>,
    /// Members that do not say, and why.
    pub silent: Vec<(String, String)>,
    /// Members that pop: no queue is anybody's then.
    pub pops: bool,
}

impl Holders {
    /// Whether what is said is all there is.
    pub fn is_whole(&self) -> bool {
        self.silent.is_empty() && !self.pops
    }

    /// Who holds a queue, in words.
    pub fn of(&self, broker: &str, queue: i32) -> Option<String> {
        let holders = self.by_queue.get(&(broker.to_owned(), queue))?;
        Some(holders.iter().map(|one| format!("'{one}'")).collect::<Vec<_>>().join(" and "))
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Asked<'a> {
    consumer_group: &'a str,
    client_id: &'a str,
    jstack_enable: bool,
}

/// Asks every member through a broker that it is connected to.
pub async fn ask(
    topic: &str,
    group: &str,
    members: &BTreeMap<String, BTreeSet<String>>,
    masters: &[Master],
    session: &Session,
) -> Holders {
    let mut holders = Holders::default();
    let mut through: BTreeMap<&str, &str> = BTreeMap::new();
    for (broker, clients) in members {
        let Some(master) = masters.iter().find(|master| master.name == *broker) else { continue };
        through.extend(clients.iter().map(|client| (client.as_str(), master.address.as_str())));
    }
    if through.len() > ASKED {
        holders
            .silent
            .push(("any of them".to_owned(), format!("{} are more than the {ASKED} that are asked", through.len())));
        return holders;
    }
    for (client, address) in &through {
        match tell(topic, group, client, address, session).await {
            Ok((queues, pops)) => {
                holders.pops |= pops;
                for queue in queues {
                    holders.by_queue.entry(queue).or_default().insert((*client).to_owned());
                }
            }
            Err(cause) => holders.silent.push(((*client).to_owned(), cause)),
        }
    }
    holders
}

async fn tell(
    topic: &str,
    group: &str,
    client: &str,
    address: &str,
    session: &Session,
) -> Result<(Vec<QueueName>, bool), String> {
    let fields = Asked { consumer_group: group, client_id: client, jstack_enable: false };
    let question = Question::new(request::GET_CONSUMER_RUNNING_INFO, &fields);
    let asked = tokio::time::timeout(PATIENCE.min(session.timeout()), session.broker(address, &question)).await;
    let answer = asked.map_err(|_| format!("no answer within {PATIENCE:?}"))?.map_err(|failure| failure.to_string())?;
    let info = RunningInfo::decode(&answer.body).map_err(|error| error.to_string())?;
    let held = info.pulled.into_iter().filter(|(queue, held)| queue.topic == topic && !held.droped);
    Ok((held.map(|(queue, _)| (queue.broker_name, queue.queue_id)).collect(), !info.popped.is_empty()))
}
