//! What a broker tells a name server about itself.

use std::io::Read;

use serde::{Deserialize, Serialize};

use crate::protocol::body::topic::{DataVersion, TopicConfig, TopicTable};
use crate::protocol::relaxed::{self, BodyError};

/// A deflated registration may unfold to this many bytes at most.
const MAX_INFLATED: u64 = 64 * 1024 * 1024;

/// Body of REGISTER_BROKER.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisterBody {
    /// Filter servers; a relic.
    #[serde(default)]
    pub filter_server_list: Vec<String>,
    /// The broker's topics.
    #[serde(default)]
    pub topic_config_serialize_wrapper: TopicTable,
}

impl RegisterBody {
    /// Reads a body, deflated or not. An empty body is a registration without topics.
    ///
    /// # Errors
    /// The body does not parse, or unfolds to more than 64 MiB.
    pub fn decode(body: &[u8], compressed: bool) -> Result<Self, BodyError> {
        if body.is_empty() {
            Ok(Self::default())
        } else if compressed {
            decode_deflated(body)
        } else {
            relaxed::parse(body)
        }
    }
}

/// RocketMQ's deflated form: a zlib stream of length-prefixed texts, one per topic.
fn decode_deflated(body: &[u8]) -> Result<RegisterBody, BodyError> {
    let mut inflated = Vec::new();
    flate2::read::ZlibDecoder::new(body)
        .take(MAX_INFLATED + 1)
        .read_to_end(&mut inflated)
        .map_err(|error| BodyError(format!("the compressed body does not inflate: {error}")))?;
    if inflated.len() as u64 > MAX_INFLATED {
        return Err(BodyError(format!("the compressed body inflates to more than {MAX_INFLATED} bytes")));
    }
    let mut rest = inflated.as_slice();
    let data_version: DataVersion = relaxed::parse(piece(&mut rest)?)?;
    let mut table = TopicTable { data_version, ..TopicTable::default() };
    for _ in 0..number(&mut rest)? {
        let topic = topic(&String::from_utf8_lossy(piece(&mut rest)?))?;
        table.topic_config_table.insert(topic.topic_name.clone(), topic);
    }
    let filter_server_list = match piece(&mut rest) {
        Ok(text) if !text.is_empty() => relaxed::parse(text)?,
        _ => Vec::new(),
    };
    Ok(RegisterBody { filter_server_list, topic_config_serialize_wrapper: table })
}

fn number(rest: &mut &[u8]) -> Result<usize, BodyError> {
    let (head, tail) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
    *rest = tail;
    usize::try_from(i32::from_be_bytes(*head)).map_err(|_| BodyError("a negative length".to_owned()))
}

fn piece<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], BodyError> {
    let length = number(rest)?;
    let (head, tail) = rest.split_at_checked(length).ok_or_else(cut)?;
    *rest = tail;
    Ok(head)
}

fn cut() -> BodyError {
    BodyError("the compressed body ends early".to_owned())
}

/// `name readQueues writeQueues perm filterType {attributes}`
fn topic(text: &str) -> Result<TopicConfig, BodyError> {
    let bad = || BodyError(format!("'{text}' does not describe a topic"));
    let mut words = text.splitn(6, ' ');
    let name = words.next().filter(|name| !name.is_empty()).ok_or_else(bad)?;
    let mut numbers = [0i32; 3];
    for number in &mut numbers {
        *number = words.next().and_then(|word| word.parse().ok()).ok_or_else(bad)?;
    }
    let [read, write, perm] = numbers;
    let mut config = TopicConfig::new(name, read, perm);
    config.write_queue_nums = write;
    if let Some(filter) = words.next() {
        filter.clone_into(&mut config.topic_filter_type);
    }
    if let Some(attributes) = words.next().filter(|text| !text.trim().is_empty()) {
        config.attributes = relaxed::parse(attributes.as_bytes())?;
    }
    Ok(config)
}
