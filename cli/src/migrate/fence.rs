//! Keeps the old master from taking messages, in a way that can be taken back.
//!
//! A master of RocketMQ's refuses sends by its `brokerPermission` only for ordered topics, but routes show it at once. As a
//! `SLAVE` it refuses every message, also those that it would write itself: delayed ones that are due, returned ones, ends of
//! transactions. It goes on serving consumers (with `slaveReadEnable`) and feeding its slaves. Consumers that have read
//! everything are held for a second only, some for six (`longPollingEnable=false`), not for 15, so that they are not still
//! waiting there when messages come in at the new master.

use orbitmq_common::protocol::code::request;
use serde::Serialize;

use super::pair::Pair;
use crate::failure::Failure;
use crate::report::Report;
use crate::session::{Nothing, Question};

/// What is changed at the old master.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fence {
    /// `brokerPermission`: 6 read and write, 4 read.
    permission: String,
    /// `brokerRole`.
    role: String,
    /// `slaveReadEnable`.
    slave_read: String,
    /// `longPollingEnable`.
    long_polling: String,
}

impl Fence {
    /// Nothing is taken.
    pub fn closed() -> Self {
        Self::new("4", "SLAVE", "true", "false")
    }

    /// As RocketMQ's masters are by default.
    pub fn open() -> Self {
        Self::new("6", "ASYNC_MASTER", "false", "true")
    }

    fn new(permission: &str, role: &str, slave_read: &str, long_polling: &str) -> Self {
        Self {
            permission: permission.to_owned(),
            role: role.to_owned(),
            slave_read: slave_read.to_owned(),
            long_polling: long_polling.to_owned(),
        }
    }

    /// How the old master is now.
    ///
    /// # Errors
    /// It does not answer, or is none of RocketMQ's.
    pub async fn of(pair: &Pair<'_>) -> Result<Self, Failure> {
        let settings = pair.session.settings(&pair.old).await?;
        let get = |key| {
            let none = format!("{} has no setting '{key}': it is no broker of Apache RocketMQ", pair.old);
            settings.get(key).map(String::as_str).ok_or(Failure::Other(none))
        };
        Ok(Self::new(get("brokerPermission")?, get("brokerRole")?, get("slaveReadEnable")?, get("longPollingEnable")?))
    }

    /// Whether nothing is taken.
    pub fn is_closed(&self) -> bool {
        self.role == "SLAVE"
    }

    /// Sets the old master so, and looks whether it is.
    ///
    /// # Errors
    /// It refuses, or does not do it.
    pub async fn set(&self, pair: &Pair<'_>) -> Result<(), Failure> {
        let Self { permission, role, slave_read, long_polling } = self;
        let text = format!(
            "brokerPermission={permission}\nbrokerRole={role}\nslaveReadEnable={slave_read}\nlongPollingEnable={long_polling}\n"
        );
        let question = Question { kind: request::UPDATE_BROKER_CONFIG, fields: &Nothing {}, body: text.into() };
        pair.session.broker(&pair.old, &question).await?;
        let now = Self::of(pair).await?;
        if now != *self {
            return Err(Failure::other(format!(
                "the old master at {} was set to {self:?} and is {now:?}: its 'configBlackList' may forbid it",
                pair.old
            )));
        }
        Ok(())
    }
}

/// `orbitmq migrate release`.
pub async fn release(pair: &Pair<'_>) -> Result<Report, Failure> {
    if pair.replication().await?.master {
        return Err(Failure::other(format!(
            "ours at {} is the master now: if the old one took messages as well, there would be two logs. See 'orbitmq migrate back'",
            pair.new
        )));
    }
    let open = Fence::open();
    open.set(pair).await?;
    Report::new(&open, format!("the old master at {} takes messages again", pair.old))
}
