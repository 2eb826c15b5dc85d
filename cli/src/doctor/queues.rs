//! What brokers let be done with the topic: permissions and numbers of queues, at the broker and as name servers tell them.

use orbitmq_common::protocol::body::route::{QueueData, TopicRoute, perm};
use orbitmq_common::protocol::body::topic::TopicConfig;
use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::header::admin::TopicRequest;

use super::{Findings, State};
use crate::session::{Master, Question, Session};

const STEP: &str = "topic";

/// Looks at the topic at each master that answers.
pub async fn look(topic: &str, route: &TopicRoute, masters: &[Master], session: &Session, findings: &mut Findings) {
    for queues in &route.queue_datas {
        let name = queues.broker_name.as_str();
        let Some(master) = masters.iter().find(|master| master.name == name) else { continue };
        let subject = format!("{topic} at {name}");
        let before = findings.count();
        for trouble in troubles(topic, queues) {
            findings.note(STEP, &subject, State::Trouble, trouble);
        }
        let fields = TopicRequest { topic: topic.into() };
        let question = Question::new(request::GET_TOPIC_CONFIG, &fields);
        match session.broker_body::<TopicConfig, _>(&master.address, &question).await {
            Ok(config) if !is_same(&config, queues) => {
                let finding = format!(
                    "name servers tell perm {} and {}/{} queues, the broker has perm {} and {}/{}: if that stays, its \
                     registration does not get through (see its log)",
                    queues.perm,
                    queues.read_queue_nums,
                    queues.write_queue_nums,
                    config.perm,
                    config.read_queue_nums,
                    config.write_queue_nums
                );
                findings.note(STEP, &subject, State::Notice, finding);
            }
            Ok(_) => {}
            Err(failure) => {
                let finding = format!("the broker does not tell the topic's settings: {failure}");
                findings.note(STEP, &subject, State::Trouble, finding);
            }
        }
        let finding = format!("{} queues, open to readers and writers", queues.write_queue_nums);
        findings.well(STEP, &subject, before, finding);
    }
}

fn is_same(config: &TopicConfig, queues: &QueueData) -> bool {
    let config = (config.perm, config.read_queue_nums, config.write_queue_nums);
    config == (queues.perm, queues.read_queue_nums, queues.write_queue_nums)
}

fn troubles(topic: &str, queues: &QueueData) -> Vec<String> {
    let (read, write, broker) = (queues.read_queue_nums, queues.write_queue_nums, &queues.broker_name);
    let open =
        format!("'orbitmq topic create {topic} --queues {} --perm rw --broker {broker}'", read.max(write).max(1));
    let mut troubles = Vec::new();
    if queues.perm & perm::WRITE == 0 {
        troubles.push(format!("is closed to writers (perm {}): open it with {open}", queues.perm));
    }
    if queues.perm & perm::READ == 0 {
        troubles.push(format!("is closed to readers (perm {}): open it with {open}", queues.perm));
    }
    if write == 0 {
        troubles.push(format!("has no queue to write to: give it some with {open}"));
    }
    if read < write {
        troubles.push(format!(
            "has {write} queues to write to and {read} to read from: nobody gets what is sent to the others; make them equal \
             with {open}"
        ));
    }
    // More queues to read than to write are fine: so a topic is made smaller, and the surplus is read until it is empty.
    troubles
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_trouble_names_its_cure() {
        let queues = |perm, read_queue_nums, write_queue_nums| QueueData {
            broker_name: "a".into(),
            perm,
            read_queue_nums,
            topic_sys_flag: 0,
            write_queue_nums,
        };
        assert_eq!(troubles("T", &queues(6, 4, 4)), [""; 0]);
        assert_eq!(troubles("T", &queues(6, 8, 4)), [""; 0]);
        assert!(troubles("T", &queues(4, 4, 4))[0].contains("closed to writers"));
        assert!(troubles("T", &queues(2, 4, 4))[0].contains("closed to readers"));
        assert!(troubles("T", &queues(6, 2, 4))[0].contains("--queues 4 --perm rw --broker a"));
    }
}
