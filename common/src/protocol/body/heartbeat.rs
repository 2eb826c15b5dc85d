//! What a client tells a broker about itself, in the many spellings of RocketMQ's clients.

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize};

/// An enumeration that clients write by name (Java, Go) or by ordinal (C++).
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal | $ordinal:literal),* $(,)? } else $fallback:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
        pub enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant,)* }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Ok(match Word::deserialize(deserializer)? {
                    $(Word::Number($ordinal) => Self::$variant,)*
                    Word::Text(text) => match text.as_str() {
                        $($text => Self::$variant,)*
                        $(stringify!($ordinal) => Self::$variant,)*
                        _ => Self::$fallback,
                    },
                    Word::Number(_) => Self::$fallback,
                })
            }
        }
    };
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Number(i64),
    Text(String),
}

named! {
    /// How messages reach a group.
    ConsumeType {
        /// The application pulls.
        Actively = "CONSUME_ACTIVELY" | 0,
        /// The client library pulls in the background.
        #[default]
        Passively = "CONSUME_PASSIVELY" | 1,
        /// The broker gives single messages.
        Pop = "CONSUME_POP" | 2,
    } else Passively
}

named! {
    /// Whether a group's members share the messages or all get all of them.
    MessageModel {
        /// Every member gets every message.
        Broadcasting = "BROADCASTING" | 0,
        /// Each message goes to one member.
        #[default]
        Clustering = "CLUSTERING" | 1,
    } else Clustering
}

named! {
    /// Where a group starts that has no offset yet.
    ConsumeFromWhere {
        /// After the last message.
        #[default]
        LastOffset = "CONSUME_FROM_LAST_OFFSET" | 0,
        /// At the first message.
        FirstOffset = "CONSUME_FROM_FIRST_OFFSET" | 4,
        /// At a point in time.
        Timestamp = "CONSUME_FROM_TIMESTAMP" | 5,
    } else LastOffset
}

/// What a group wants of one topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionData {
    /// A relic.
    pub class_filter_mode: bool,
    /// Hashes of the tags. Go writes texts, Java numbers.
    #[serde(deserialize_with = "numbers")]
    pub code_set: Vec<i32>,
    /// `TAG` or `SQL92`.
    #[serde(default = "tag", deserialize_with = "text_or_tag")]
    pub expression_type: String,
    /// The expression; `*` or empty: everything.
    #[serde(deserialize_with = "text_or_empty")]
    pub sub_string: String,
    /// Newer replaces older. C++ writes text.
    #[serde(deserialize_with = "number")]
    pub sub_version: i64,
    /// The tags.
    #[serde(deserialize_with = "texts")]
    pub tags_set: Vec<String>,
    /// The topic.
    pub topic: String,
}

fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    match Word::deserialize(deserializer)? {
        Word::Number(n) => Ok(n),
        Word::Text(text) => text.trim().parse().map_err(|_| de::Error::custom(format_args!("'{text}' is no number"))),
    }
}

fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i32>, D::Error> {
    let words = Option::<Vec<Word>>::deserialize(deserializer)?.unwrap_or_default();
    words
        .into_iter()
        .map(|word| match word {
            Word::Number(n) => i32::try_from(n).map_err(de::Error::custom),
            Word::Text(text) => text.trim().parse().map_err(de::Error::custom),
        })
        .collect()
}

fn texts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn text_or_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn text_or_tag<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.filter(|text| !text.is_empty()).unwrap_or_else(tag))
}

fn tag() -> String {
    "TAG".to_owned()
}

/// One consumer group of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConsumerData {
    /// Where the group starts.
    #[serde(default)]
    pub consume_from_where: ConsumeFromWhere,
    /// How messages reach it.
    #[serde(default)]
    pub consume_type: ConsumeType,
    /// The group.
    pub group_name: String,
    /// Sharing or broadcasting.
    #[serde(default)]
    pub message_model: MessageModel,
    /// What it wants.
    #[serde(default)]
    pub subscription_data_set: Vec<SubscriptionData>,
    /// Unit mode of old set-ups.
    #[serde(default)]
    pub unit_mode: bool,
}

/// One producer group of a client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProducerData {
    /// The group.
    pub group_name: String,
}

/// Body of HEART_BEAT.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeartbeatData {
    /// Id of the client.
    #[serde(rename = "clientID")]
    pub client_id: String,
    /// Its consumer groups.
    #[serde(default)]
    pub consumer_data_set: Vec<ConsumerData>,
    /// Fingerprint of the subscriptions; 0: none.
    #[serde(default)]
    pub heartbeat_fingerprint: i32,
    /// Its producer groups.
    #[serde(default)]
    pub producer_data_set: Vec<ProducerData>,
    /// Whether subscriptions were left out.
    #[serde(default)]
    pub without_sub: bool,
}

/// Body of CHECK_CLIENT_CONFIG.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckClientRequest {
    /// Id of the client.
    #[serde(default)]
    pub client_id: String,
    /// Its group.
    #[serde(default)]
    pub group: String,
    /// What it wants.
    #[serde(default)]
    pub subscription_data: Option<SubscriptionData>,
}
