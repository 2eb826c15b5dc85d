//! FOLLOW_METADATA: a slave asks for what changed in topics, groups, offsets and the like, or for all of it page by page.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use orbitmq_common::net::connection::Outcome;
use orbitmq_common::protocol::body::metadata::{self, Follow, Followed, News, Page, Place};
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;

use crate::broker::Broker;
use crate::meta::db::DbError;
use crate::meta::feed::Change;
use crate::meta::tree::Tree;
use crate::refusal::Refusal;

/// Longest time a request waits for news.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Answers at once while there is news, else when there is some, when the time is over, or when the broker stops.
pub fn follow(broker: &Arc<Broker>, frame: &Frame) -> Result<Outcome, Refusal> {
    if broker.offsets.follows() {
        let remark = "this broker is a slave itself; follow the metadata of the master, which the name servers know";
        return Err(Refusal::new(response::SERVICE_NOT_AVAILABLE, remark));
    }
    let asked: Follow = metadata::decode(&frame.body)?;
    let begins = asked.instance != broker.db.instance() || asked.applied == 0;
    broker.db.followers().note(asked.member, (!begins).then_some(asked.applied));
    let (broker, request) = (Arc::clone(broker), frame.answer(response::SUCCESS));
    Ok(Outcome::later(async move {
        match tell(&broker, asked).await {
            Ok((number, news)) => {
                let followed = Followed { instance: broker.db.instance(), number, news };
                request.with_body(metadata::encode(&followed))
            }
            Err(error) => {
                let remark = format!("the metadata cannot be read now, ask again: {error}");
                request.refuse(response::SYSTEM_ERROR, remark)
            }
        }
    }))
}

async fn tell(broker: &Arc<Broker>, asked: Follow) -> Result<(u64, News), DbError> {
    let Follow { instance, since, .. } = asked;
    if let Some(place) = asked.after {
        if broker.db.reaches(instance, since) {
            return Ok((since, page(broker, place).await?));
        }
    } else if let Some((number, changes)) = broker.db.since(instance, since) {
        if number > since {
            return Ok((number, News::Changes(changes.into_iter().map(told).collect())));
        }
        tokio::select! {
            () = broker.db.news(since) => {}
            () = tokio::time::sleep(Duration::from_millis(asked.wait_ms).min(MAX_WAIT)) => {}
            () = broker.stop.cancelled() => {}
        }
        if let Some((number, changes)) = broker.db.since(instance, since) {
            return Ok((number, News::Changes(changes.into_iter().map(told).collect())));
        }
    }
    // Rows are read while they change. What changes after this number is told afterwards, so that in the end all fits.
    let number = broker.db.begin();
    broker.db.stored(number).await?;
    Ok((number, page(broker, start(replicated().next())).await?))
}

fn told(Change { tree, key, value }: Change) -> metadata::Change {
    metadata::Change { tree: tree.name().to_owned(), key, value }
}

fn replicated() -> impl Iterator<Item = Tree> {
    Tree::ALL.into_iter().filter(|tree| tree.replicates())
}

/// Before all rows of a tree.
fn start(tree: Option<Tree>) -> Place {
    Place { tree: tree.map_or("", Tree::name).to_owned(), key: Bytes::new() }
}

/// The rows behind a place. A tree that is not known here has none.
async fn page(broker: &Arc<Broker>, place: Place) -> Result<News, DbError> {
    let mut trees = replicated().skip_while(|tree| tree.name() != place.tree);
    let (tree, next) = (trees.next(), trees.next());
    let (db, from) = (Arc::clone(&broker.db), place.key.clone());
    let read = move || tree.map_or(Ok((Vec::new(), true)), |tree| db.page(tree, &from));
    let (rows, whole) = tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(broker.db.broken(error)))?;
    let rows: Vec<_> = rows.into_iter().map(|(key, value)| (Bytes::from(key), Bytes::from(value))).collect();
    let to = if whole { None } else { rows.last().map(|(key, _)| key.clone()) };
    let next = match &to {
        Some(key) => Some(Place { tree: place.tree.clone(), key: key.clone() }),
        None => next.map(|next| start(Some(next))),
    };
    Ok(News::Page(Page { tree: place.tree, from: place.key, to, rows, next }))
}
