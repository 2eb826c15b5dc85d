//! `orbitmq broker`: figures and settings of brokers, under RocketMQ's names.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::failure::Failure;
use crate::report::{Report, pairs};
use crate::session::{Master, Session};

/// What can be asked of brokers.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what a broker counts and measures.
    Figures(Which),
    /// Show a broker's settings.
    Settings(Which),
}

/// Which broker.
#[derive(Debug, Args)]
pub struct Which {
    /// Name of a broker, or host:port; all masters when left out.
    broker: Option<String>,
}

#[derive(Debug, Serialize)]
struct Answer {
    broker: String,
    address: String,
    #[serde(flatten)]
    table: BTreeMap<&'static str, BTreeMap<String, String>>,
}

/// Runs one command.
pub async fn run(command: Command, session: Session) -> Result<Report, Failure> {
    let (which, name) = match &command {
        Command::Figures(which) => (which, "figures"),
        Command::Settings(which) => (which, "settings"),
    };
    let mut answers = Vec::new();
    let mut text = String::new();
    for Master { name: broker, address, .. } in choose(which, &session).await? {
        let table = match &command {
            Command::Figures(_) => session.figures(&address).await?,
            Command::Settings(_) => session.settings(&address).await?,
        };
        let title = format!("{name} of {broker} at {address}\n");
        text = format!("{text}{title}{}\n", pairs(table.iter().map(|(key, value)| (key.as_str(), value.clone()))));
        answers.push(Answer { broker, address, table: BTreeMap::from([(name, table)]) });
    }
    Report::new(&answers, text)
}

async fn choose(which: &Which, session: &Session) -> Result<Vec<Master>, Failure> {
    match &which.broker {
        None => session.masters().await,
        Some(address) if address.contains(':') => {
            Ok(vec![Master { name: address.clone(), cluster: String::new(), address: address.clone() }])
        }
        Some(name) => {
            let masters = session.masters().await?;
            let known = masters.iter().map(|master| master.name.as_str()).collect::<Vec<_>>().join(", ");
            let unknown = || Failure::other(format!("no broker '{name}' has a registered master; these have: {known}"));
            Ok(vec![masters.iter().find(|master| master.name == *name).cloned().ok_or_else(unknown)?])
        }
    }
}
