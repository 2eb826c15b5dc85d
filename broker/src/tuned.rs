//! Settings that an administrator may change while the broker runs, under RocketMQ's names. Nothing here names a file, an address
//! or a command, and no change weakens what an acknowledgement means.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use orbitmq_common::protocol::body::route::perm;
use orbitmq_common::protocol::body::topic::DataVersion;

use crate::config::Config;
use crate::meta::db::{Db, DbError};
use crate::meta::topics::Version;
use crate::meta::tree::Tree;

/// Before the names of rows that hold changed settings.
const ROW: &str = "tuned/";
/// A frame holds 16 MiB.
const LARGEST_MESSAGE: i64 = 15 << 20;

/// What a setting's value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Truth,
    Number { least: i64, most: i64 },
}

/// One setting: RocketMQ's name for it, and ours where there is one.
#[derive(Debug)]
struct Setting {
    apache: &'static str,
    ours: &'static str,
    form: Form,
}

/// The settings, in the order of [`Tuned`]'s values.
const SETTINGS: [Setting; 5] = [
    Setting { apache: "autoCreateTopicEnable", ours: "auto_create_topics", form: Form::Truth },
    Setting { apache: "autoCreateSubscriptionGroup", ours: "auto_create_groups", form: Form::Truth },
    Setting { apache: "longPollingEnable", ours: "long_polling", form: Form::Truth },
    Setting {
        apache: "maxMessageSize",
        ours: "max_message_size",
        form: Form::Number { least: 1, most: LARGEST_MESSAGE },
    },
    Setting { apache: "brokerPermission", ours: "permission", form: Form::Number { least: 0, most: 6 } },
];

/// Why a setting is not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TuneError {
    /// The text is not properties text.
    #[error("'{0}' is not key=value")]
    Syntax(String),
    /// Not one that can be changed.
    #[error("'{name}' cannot be changed over the network: set it at the broker's start. These can be changed: {known}")]
    Closed {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Not a value of it.
    #[error("{name} = '{value}': expected {expected}")]
    Value {
        /// The setting.
        name: &'static str,
        /// What was given.
        value: String,
        /// What it may be.
        expected: String,
    },
}

/// The values in force.
pub struct Tuned {
    values: [AtomicI64; 5],
    version: Version,
    db: Arc<Db>,
}

impl Tuned {
    /// The values of the broker's start, and over them those that an administrator has set since.
    ///
    /// # Errors
    /// The metadata cannot be read.
    pub fn load(config: &Config, db: Arc<Db>) -> Result<Self, DbError> {
        let size = i64::try_from(config.max_message_size).unwrap_or(LARGEST_MESSAGE);
        let truths = [config.auto_create_topics, config.auto_create_groups, config.long_polling].map(i64::from);
        let [topics, groups, polling] = truths;
        let values = [topics, groups, polling, size, i64::from(perm::READ | perm::WRITE)].map(AtomicI64::new);
        let tuned = Self { values, version: Version::new(), db };
        for (key, value) in tuned.db.load(Tree::About)? {
            let (Ok(key), Ok(value)) = (std::str::from_utf8(&key), std::str::from_utf8(&value)) else { continue };
            let Some(name) = key.strip_prefix(ROW) else { continue };
            match read(name, value) {
                Ok(change) => {
                    tracing::info!(setting = name, value, "an administrator's change of a setting stays in force");
                    tuned.put(change);
                }
                Err(error) => tracing::error!(%error, "a stored setting is not understood; skipped"),
            }
        }
        Ok(tuned)
    }

    fn value(&self, index: usize) -> i64 {
        self.values.get(index).map_or(0, |value| value.load(Ordering::Relaxed))
    }

    /// Whether a send may create its topic.
    #[must_use]
    pub fn auto_create_topics(&self) -> bool {
        self.value(0) != 0
    }

    /// Whether a consumer may create its group.
    #[must_use]
    pub fn auto_create_groups(&self) -> bool {
        self.value(1) != 0
    }

    /// Whether pulls may wait for messages.
    #[must_use]
    pub fn long_polling(&self) -> bool {
        self.value(2) != 0
    }

    /// Longest body, bytes.
    #[must_use]
    pub fn max_message_size(&self) -> usize {
        usize::try_from(self.value(3)).unwrap_or(0)
    }

    /// Bits of [`perm`]: what routes say of every topic at this broker, besides the topic's own permission.
    #[must_use]
    pub fn permission(&self) -> i32 {
        i32::try_from(self.value(4)).unwrap_or(0)
    }

    /// The settings under RocketMQ's names.
    #[must_use]
    pub fn shown(&self) -> BTreeMap<&'static str, String> {
        let shown =
            SETTINGS.iter().enumerate().map(|(index, setting)| (setting.apache, show(setting, self.value(index))));
        shown.collect()
    }

    /// Counts changes.
    #[must_use]
    pub fn version(&self) -> DataVersion {
        self.version.current()
    }

    /// Puts changes in force and keeps them, this broker alone: they stand after a restart too. The number is for [`Db::stored`].
    pub fn apply(&self, changes: &[Change]) -> u64 {
        for change in changes {
            self.put(*change);
            let Some(setting) = SETTINGS.get(change.index) else { continue };
            let value = show(setting, change.value);
            tracing::info!(setting = setting.apache, value, "setting changed");
            self.db.put(Tree::About, format!("{ROW}{}", setting.apache).into_bytes(), value.into_bytes());
        }
        self.version.bump();
        self.db.newest()
    }

    fn put(&self, change: Change) {
        if let Some(value) = self.values.get(change.index) {
            value.store(change.value, Ordering::Relaxed);
        }
    }
}

/// A checked change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    index: usize,
    value: i64,
}

fn show(setting: &Setting, value: i64) -> String {
    match setting.form {
        Form::Truth => (value != 0).to_string(),
        Form::Number { .. } => value.to_string(),
    }
}

/// Reads properties text as changes; all or nothing.
///
/// # Errors
/// The first line that is no change of a setting that can be changed.
pub fn parse(text: &str) -> Result<Vec<Change>, TuneError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', '!']));
    let changes = lines.map(|line| {
        let (name, value) = line.split_once(['=', ':']).ok_or_else(|| TuneError::Syntax(brief(line)))?;
        read(name.trim(), value.trim())
    });
    changes.collect()
}

fn read(name: &str, value: &str) -> Result<Change, TuneError> {
    let found = SETTINGS.iter().enumerate().find(|(_, setting)| setting.apache == name || setting.ours == name);
    let Some((index, setting)) = found else {
        let known = SETTINGS.iter().map(|setting| setting.apache).collect::<Vec<_>>().join(", ");
        return Err(TuneError::Closed { name: brief(name), known });
    };
    let (number, expected) = match setting.form {
        Form::Truth => (value.parse::<bool>().ok().map(i64::from), "true or false".to_owned()),
        Form::Number { least, most } => {
            let number = value.parse::<i64>().ok().filter(|number| (least..=most).contains(number));
            (number, format!("a whole number from {least} to {most}"))
        }
    };
    let refused = || TuneError::Value { name: setting.apache, value: brief(value), expected };
    number.map(|value| Change { index, value }).ok_or_else(refused)
}

fn brief(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
