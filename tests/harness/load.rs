//! Senders that write as fast as they are answered, until they are told to stop; nothing is sent twice.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::net::peer::Answer;
use orbitmq_common::protocol::frame::Encoding;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::ledger::{Id, Ledger};
use crate::session::{Failure, Session, receipt};

/// Sends of one pipelined sender that are in hand at once.
const WINDOW: usize = 8;
/// Messages of one batch, at most.
const BATCH: usize = 10;
/// Pause of a sender that was refused or has no connection.
const PAUSE: Duration = Duration::from_millis(5);

/// Where and how much is sent.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Topics with their numbers of queues.
    pub topics: Vec<(Arc<str>, i32)>,
    /// Senders; each fourth sends batches, each fourth has several sends in hand.
    pub senders: u32,
    /// Bodies have at most so many letters.
    pub padding: usize,
}

/// Senders at work.
pub struct Load {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Load {
    /// Starts the senders, with numbers from `first` on.
    #[must_use]
    pub fn start(address: &str, plan: &Plan, ledger: &Arc<Ledger>, first: u32) -> Self {
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        for number in 0..plan.senders {
            let encoding = [None, Some(Encoding::Json), Some(Encoding::Binary)][number as usize % 3];
            let (window, batch) = match number % 4 {
                2 => (WINDOW, 1),
                3 => (1, BATCH),
                _ => (1, 1),
            };
            let sender = Sender {
                number: first + number,
                session: Session::speaking(address, encoding),
                plan: plan.clone(),
                ledger: Arc::clone(ledger),
                window,
                batch,
            };
            tasks.spawn(sender.run(stop.clone()));
        }
        Self { stop, tasks }
    }

    /// Has the senders await what they have in hand, and end.
    pub async fn stop(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
    }
}

struct Sender {
    number: u32,
    session: Session,
    plan: Plan,
    ledger: Arc<Ledger>,
    window: usize,
    batch: usize,
}

impl Sender {
    async fn run(self, stop: CancellationToken) {
        let mut in_hand: VecDeque<(Vec<Id>, Answer)> = VecDeque::new();
        while !stop.is_cancelled() {
            let well = self.send_one(&mut in_hand).await;
            let well = if in_hand.len() >= self.window { self.settle(&mut in_hand).await && well } else { well };
            if !well {
                tokio::select! { () = tokio::time::sleep(PAUSE) => {}, () = stop.cancelled() => {} }
            }
        }
        while !in_hand.is_empty() {
            self.settle(&mut in_hand).await;
        }
    }

    async fn send_one(&self, in_hand: &mut VecDeque<(Vec<Id>, Answer)>) -> bool {
        let (topic, queues) = &self.plan.topics[fastrand::usize(..self.plan.topics.len())];
        let queue = fastrand::i32(0..*queues);
        let count = if self.batch > 1 { fastrand::usize(2..=self.batch) } else { 1 };
        let next = || self.ledger.next(self.number, topic, queue, fastrand::usize(..=self.plan.padding), 0);
        let (ids, messages): (Vec<_>, Vec<_>) = std::iter::repeat_with(next).take(count).unzip();
        match self.session.start_send(topic, queue, &messages).await {
            Ok(answer) => in_hand.push_back((ids, answer)),
            Err(_) => return false,
        }
        true
    }

    /// Awaits the oldest answer; tells whether it was good.
    async fn settle(&self, in_hand: &mut VecDeque<(Vec<Id>, Answer)>) -> bool {
        let Some((ids, answer)) = in_hand.pop_front() else { return true };
        match receipt(answer.await) {
            Ok(receipt) => self.ledger.stored(&ids, &receipt),
            Err(Failure::Refused { code, remark }) => {
                self.ledger.refused(&ids, code, &remark);
                return false;
            }
            Err(Failure::Lost(_)) => return false,
        }
        true
    }
}
