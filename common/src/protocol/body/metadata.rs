//! FOLLOW_METADATA: what a follower has of its master's metadata, and what it is told. MessagePack by field name.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::protocol::relaxed::BodyError;

/// A place in a snapshot: behind one row of a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Name of the tree.
    pub tree: String,
    /// Key of the row; the empty one is before all others.
    pub key: Bytes,
}

/// What a follower has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follow {
    /// Number of the follower among the brokers of the name.
    pub member: i64,
    /// The feed that it has followed so far; 0: none.
    #[serde(default)]
    pub instance: u64,
    /// Newest change of that feed that it has taken over.
    #[serde(default)]
    pub since: u64,
    /// Newest change of that feed that survives the end of its process.
    #[serde(default)]
    pub applied: u64,
    /// How long the answer may wait for news; ms.
    #[serde(default)]
    pub wait_ms: u64,
    /// Within a snapshot: where the next page begins.
    #[serde(default)]
    pub after: Option<Place>,
}

/// One changed row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Name of the tree.
    pub tree: String,
    /// Key of the row.
    pub key: Bytes,
    /// Its value; `None`: it was removed.
    pub value: Option<Bytes>,
}

/// A page of a snapshot: all rows of one stretch of a tree. What the follower has there beside them is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Name of the tree.
    pub tree: String,
    /// The stretch begins behind this key; the empty one is before all others.
    pub from: Bytes,
    /// It ends with this key; `None`: with the tree.
    pub to: Option<Bytes>,
    /// Keys and values.
    pub rows: Vec<(Bytes, Bytes)>,
    /// Where the next page begins; `None`: this is the last one.
    pub next: Option<Place>,
}

/// What there is to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    /// Everything that changed since, in order.
    Changes(Vec<Change>),
    /// The feed does not reach back so far: everything there is, page by page.
    Page(Page),
}

/// Answer to [`Follow`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// The feed; drawn at each start of the master.
    pub instance: u64,
    /// With this answer, or with the last page of its snapshot, the follower has every change up to this one.
    pub number: u64,
    /// The news.
    pub news: News,
}

/// The body that carries `value`.
#[must_use]
pub fn encode<T: Serialize>(value: &T) -> Bytes {
    match rmp_serde::to_vec_named(value) {
        Ok(body) => body.into(),
        Err(error) => {
            tracing::error!(%error, "a body of ours has no MessagePack form");
            Bytes::new()
        }
    }
}

/// Reads a body.
///
/// # Errors
/// It is no MessagePack, or lacks what `T` needs.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, BodyError> {
    rmp_serde::from_slice(body).map_err(|error| BodyError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
    }

    fn place() -> impl Strategy<Value = Place> {
        ("[a-z]{0,9}", bytes()).prop_map(|(tree, key)| Place { tree, key })
    }

    fn news() -> impl Strategy<Value = News> {
        let change = ("[a-z]{0,9}", bytes(), proptest::option::of(bytes())).prop_map(|(tree, key, value)| Change {
            tree,
            key,
            value,
        });
        let page = (
            "[a-z]{0,9}",
            bytes(),
            proptest::option::of(bytes()),
            proptest::collection::vec((bytes(), bytes()), 0..5),
            proptest::option::of(place()),
        )
            .prop_map(|(tree, from, to, rows, next)| Page { tree, from, to, rows, next });
        prop_oneof![proptest::collection::vec(change, 0..5).prop_map(News::Changes), page.prop_map(News::Page)]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            numbers in any::<(i64, u64, u64, u64, u64)>(),
            after in proptest::option::of(place()),
            news in news(),
        ) {
            let (member, instance, since, applied, wait_ms) = numbers;
            let follow = Follow { member, instance, since, applied, wait_ms, after };
            prop_assert_eq!(decode::<Follow>(&encode(&follow)).unwrap(), follow);
            let followed = Followed { instance, number: since, news };
            prop_assert_eq!(decode::<Followed>(&encode(&followed)).unwrap(), followed);
        }

        #[test]
        fn garbage_is_refused_or_read_but_never_harms(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Follow>(&body);
            let _ = decode::<Followed>(&body);
        }
    }

    #[test]
    fn fields_that_a_later_version_adds_are_skipped() {
        #[derive(Serialize)]
        struct Later {
            member: i64,
            colour: &'static str,
        }
        let read: Follow = decode(&encode(&Later { member: 3, colour: "blue" })).unwrap();
        assert_eq!(read, Follow { member: 3, ..Follow::default() });
        assert!(decode::<Follow>(b"").is_err());
    }
}
