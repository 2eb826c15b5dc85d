//! Follows the master's metadata: topics, groups, offsets, progress of delay levels, and whatever [`kept`] lists.
//!
//! ```text
//! master: put ─> stored ─> feed ──(FOLLOW_METADATA)──> slave: Kept::take ─> stored ──(the next FOLLOW_METADATA)──> replicated
//! ```
//! A slave that was away longer than the master's feed reaches back, or whose master has started anew, gets every row page by
//! page and drops what the master does not have. Before it follows, it tells the master what was committed here meanwhile.

mod apache;
mod handover;
pub mod settle;

use std::sync::Arc;
use std::time::Duration;

use orbitmq_common::net::client::{Client, ClientOptions, Link};
use orbitmq_common::net::peer::CallError;
use orbitmq_common::protocol::body::metadata::{self, Follow, Followed, News, Page};
use orbitmq_common::protocol::code::{request, response};
use orbitmq_common::protocol::fields::FieldError;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::relaxed::BodyError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::apache::Copied;
use crate::broker::Broker;
use crate::meta::db::DbError;
use crate::meta::kept::Kept;
use crate::meta::tree::Tree;

/// How long a request waits at the master for news.
const WAIT: Duration = Duration::from_secs(1);
/// How long any answer may take, beyond that.
const DEADLINE: Duration = Duration::from_secs(3);
const CONNECT: Duration = Duration::from_secs(1);
/// Time between two looks at a master of RocketMQ's.
const POLL: Duration = Duration::from_millis(500);
/// Rows that are taken over without a pause for others.
const AT_ONCE: usize = 256;
/// Time to the next attempt after one that failed.
const RETRY: Duration = Duration::from_millis(250);

/// Every kind of metadata that follows. One that comes later is added here, and has its tree.
fn kept(broker: &Broker) -> [&dyn Kept; 11] {
    let (resets, delay) = (broker.offsets.resets(), broker.delay.as_ref());
    let timers = broker.timers.marks.as_ref();
    let (asked, orders, modes, forbidden) = (&broker.asked, &broker.orders, &broker.request_modes, &broker.forbidden);
    [
        &broker.deletions,
        &broker.topics,
        &broker.groups,
        &broker.offsets,
        resets,
        delay,
        asked,
        timers,
        orders,
        modes,
        forbidden,
    ]
}

/// Why following fails for the moment.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("refused with code {code}: {remark}")]
    Refused { code: i32, remark: String },
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Fields(#[from] FieldError),
    #[error("what the master told cannot be stored here: {0}")]
    Db(#[from] DbError),
    #[error("a thread that read rows was broken off: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// Follows the broker at `master` (`host:port` for clients) until `stop`. Commits of groups count for the master from now on: see
/// [`crate::meta::offsets::Offsets::follow`]. Failures are logged and tried again.
pub async fn follow(broker: Arc<Broker>, master: String, stop: CancellationToken) {
    broker.offsets.follow();
    let options = ClientOptions { connect_timeout: CONNECT, ..ClientOptions::default() };
    let mut follower = Follower {
        broker: &broker,
        master: &master,
        client: Client::new(options),
        reached: Follow::default(),
        copied: Copied::default(),
        failing: None,
    };
    tokio::select! {
        () = follower.run() => {}
        () = stop.cancelled() => {}
    }
}

struct Follower<'b> {
    broker: &'b Arc<Broker>,
    master: &'b str,
    client: Client,
    /// What there is here of the metadata of a master of ours.
    reached: Follow,
    /// And of one of RocketMQ's.
    copied: Copied,
    /// Whether the last attempt failed; a change is logged once.
    failing: Option<bool>,
}

impl Follower<'_> {
    async fn run(&mut self) {
        loop {
            // A master that is back is followed at once, however long it was away.
            self.client.forget_failures(self.master);
            let result = self.round().await;
            self.report(&result);
            if result.is_err() {
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    fn report(&mut self, result: &Result<(), FollowError>) {
        if self.failing.replace(result.is_err()) == Some(result.is_err()) {
            return;
        }
        match result {
            Ok(()) => tracing::info!(master = self.master, "the master's metadata is followed"),
            Err(error) => {
                tracing::warn!(master = self.master, %error, "the master's metadata cannot be followed; it is tried again");
            }
        }
    }

    async fn round(&mut self) -> Result<(), FollowError> {
        let link = self.client.link(self.master).await?;
        handover::tell(self.broker, &link).await?;
        if link.speaks_message_pack() {
            tokio::select! {
                followed = ask(&link, self.question()) => return self.apply(followed?).await,
                () = self.broker.offsets.untold_news() => return Ok(()),
            }
        }
        let began = Instant::now();
        self.copied.copy(self.broker, &link).await?;
        // Whole tables may be large: they take a tenth of the time at most.
        tokio::select! {
            () = tokio::time::sleep(POLL.max(began.elapsed() * 9)) => {}
            () = self.broker.offsets.untold_news() => {}
        }
        Ok(())
    }

    fn question(&self) -> Follow {
        let wait_ms = u64::try_from(WAIT.as_millis()).unwrap_or(0);
        Follow { member: self.broker.config.id, wait_ms, ..self.reached.clone() }
    }

    async fn apply(&mut self, followed: Followed) -> Result<(), FollowError> {
        let Followed { instance, number, news } = followed;
        let after = match news {
            News::Changes(changes) => {
                for change in changes {
                    take(self.broker, &change.tree, &change.key, change.value.as_deref());
                }
                None
            }
            News::Page(page) => {
                let next = page.next.clone();
                take_page(self.broker, page).await?;
                next
            }
        };
        self.broker.db.stored(self.broker.db.newest()).await?;
        let applied = if after.is_some() { 0 } else { number };
        if after.is_none() {
            self.broker.role.set_in_step(true);
        }
        self.reached = Follow { instance, since: number, applied, after, ..Follow::default() };
        Ok(())
    }
}

async fn ask(link: &Link, question: Follow) -> Result<Followed, FollowError> {
    let frame = link.request(request::FOLLOW_METADATA).with_body(metadata::encode(&question));
    let answer = accepted(link.call(frame, WAIT + DEADLINE).await?)?;
    Ok(metadata::decode(&answer.body)?)
}

fn accepted(answer: Frame) -> Result<Frame, FollowError> {
    if answer.code == response::SUCCESS {
        return Ok(answer);
    }
    Err(FollowError::Refused { code: answer.code, remark: answer.remark.unwrap_or_default() })
}

/// Takes over one row. Of a kind that a newer master has nothing is kept here.
fn take(broker: &Broker, tree: &str, key: &[u8], value: Option<&[u8]>) {
    match kept(broker).into_iter().find(|kept| kept.tree().name() == tree) {
        Some(kept) => kept.take(key, value),
        None => tracing::debug!(tree, "the master has metadata of a kind that is not known here"),
    }
}

/// Takes over a stretch of a tree: all rows of it, and nothing else. Ends where it is dropped: a broker that becomes master takes
/// over nothing more.
async fn take_page(broker: &Arc<Broker>, page: Page) -> Result<(), FollowError> {
    let Page { tree: name, from, to, rows, .. } = page;
    let Some(tree) = kept(broker).into_iter().map(Kept::tree).find(|tree| tree.name() == name) else {
        return Ok(());
    };
    broker.db.stored(broker.db.newest()).await?;
    if tree == Tree::Offsets {
        broker.offsets.settle_told();
    }
    let reading = Arc::clone(broker);
    let known = tokio::task::spawn_blocking(move || reading.db.keys(tree, &from, to.as_deref())).await??;
    let is_gone = |key: &Vec<u8>| rows.binary_search_by(|(known, _)| known.as_ref().cmp(key)).is_err();
    let gone: Vec<_> = known.into_iter().filter(is_gone).collect();
    for keys in gone.chunks(AT_ONCE) {
        keys.iter().for_each(|key| take(broker, &name, key, None));
        tokio::task::yield_now().await;
    }
    for rows in rows.chunks(AT_ONCE) {
        rows.iter().for_each(|(key, value)| take(broker, &name, key, Some(value)));
        tokio::task::yield_now().await;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
