//! Which dead letters are meant.

use clap::Args;
use orbitmq_common::message::property;

use crate::dead::letter::Letter;
use crate::time;

/// Chooses dead letters; all that is given must fit.
#[derive(Debug, Default, Args)]
pub struct Filter {
    /// Only those that came from this topic.
    #[arg(long, value_name = "TOPIC")]
    pub from_topic: Option<String>,
    /// Only the one with this message id, or with this id of the message it once was.
    #[arg(long)]
    pub id: Option<String>,
    /// Only those with this key.
    #[arg(long)]
    pub key: Option<String>,
    /// Only those with this tag.
    #[arg(long)]
    pub tag: Option<String>,
    /// Only those whose reason holds this text.
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Only those with this property.
    #[arg(long, value_name = "NAME=VALUE", value_parser = pair)]
    pub property: Vec<(String, String)>,
    /// Only those that died at this time or later.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub since: Option<i64>,
    /// Only those that died before this time.
    #[arg(long, value_name = "TIME", value_parser = time::parse)]
    pub until: Option<i64>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    pair.map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| "expected name=value".to_owned())
}

impl Filter {
    /// Whether a dead letter is meant.
    pub fn wants(&self, letter: &Letter) -> bool {
        let message = &letter.message;
        let is =
            |wanted: &Option<String>, found: Option<&str>| wanted.as_deref().is_none_or(|wanted| found == Some(wanted));
        let id = self.id.as_deref();
        let origin = property::DLQ_ORIGIN_MESSAGE_ID;
        is(&self.from_topic, letter.origin_topic())
            && id.is_none_or(|id| message.message_id() == id || message.property(origin) == Some(id))
            && self.key.as_deref().is_none_or(|key| message.keys().any(|one| one == key))
            && is(&self.tag, message.tag())
            && self.reason.as_deref().is_none_or(|text| letter.reason().is_some_and(|reason| reason.contains(text)))
            && self.property.iter().all(|(name, value)| message.property(name) == Some(value))
            && self.since.is_none_or(|since| message.store_timestamp >= since)
            && self.until.is_none_or(|until| message.store_timestamp < until)
    }
}
