//! What the name server does for each kind of request.

use std::sync::Arc;

use orbitmq_common::net::network::is_host_and_port;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::fields::FieldError;
use orbitmq_common::protocol::relaxed::BodyError;

use crate::answers::Answers;
use crate::controller::Controller;
use crate::controller::refusal::ControllerError;
use crate::options::{OptionError, Options};
use crate::routes::RouteTable;
use crate::routes::members::Identity;
use crate::settings::{Settings, SettingsError};

pub mod cluster;
pub mod config;
pub mod controller;
pub mod heartbeat;
pub mod kv;
pub mod permission;
pub mod register;
pub mod route;
pub mod topics;

/// What handlers work on.
#[derive(Debug, Clone)]
pub struct Parts {
    /// Brokers and their queues.
    pub routes: Arc<RouteTable>,
    /// Key-value settings.
    pub settings: Arc<Settings>,
    /// Switches.
    pub options: Arc<Options>,
    /// Encoded routes.
    pub answers: Arc<Answers>,
    /// The controller, if this name server has one.
    pub controller: Option<Arc<Controller>>,
}

/// A request is not done: the answer's code, and a remark with cause and cure.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The code.
    pub code: i32,
    /// The remark.
    pub remark: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: i32, remark: impl Into<String>) -> Self {
        Self { code, remark: remark.into() }
    }

    /// The request itself is wrong.
    pub fn invalid(remark: impl ToString) -> Self {
        Self::new(response::INVALID_PARAMETER, remark.to_string())
    }
}

impl From<FieldError> for Refusal {
    fn from(error: FieldError) -> Self {
        Self::invalid(error)
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        Self::invalid(error)
    }
}

impl From<SettingsError> for Refusal {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::Name => Self::invalid(error),
            _ => Self::new(response::SYSTEM_ERROR, error.to_string()),
        }
    }
}

impl From<ControllerError> for Refusal {
    fn from(error: ControllerError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<OptionError> for Refusal {
    fn from(error: OptionError) -> Self {
        match error {
            OptionError::Forbidden(_) => Self::new(response::NO_PERMISSION, error.to_string()),
            _ => Self::invalid(error),
        }
    }
}

/// A broker's identity, if route answers can carry it: the Go client cuts them at commas and colons.
fn identity<'a>(cluster: &'a str, name: &'a str, addr: &'a str, id: i64) -> Result<Identity<'a>, Refusal> {
    for (field, value) in [("clusterName", cluster), ("brokerName", name)] {
        if value.trim().is_empty() {
            return Err(Refusal::invalid(format!("{field} is empty: give the broker one in its configuration")));
        }
    }
    if !is_host_and_port(addr) {
        let shown: String = addr.chars().take(80).collect();
        return Err(Refusal::invalid(format!("brokerAddr '{shown}' is not host:port as clients could reach it")));
    }
    if id < 0 {
        return Err(Refusal::invalid(format!("brokerId {id} is negative: 0 is the master, slaves count from 1")));
    }
    Ok(Identity { cluster, name, addr, id })
}
