//! Load for `tests/scale`: a million timers, a million open pop receipts, ten thousand topics, at any name server and broker.
//!
//! Speaks JSON headers, so that RocketMQ's own daemons answer the very same requests. The servers were started by somebody else;
//! their addresses and process numbers are in a file `env` as `tests/up` writes it, and `--start` starts their broker again after a
//! kill. One line of JSON with the figures goes to standard output.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a program for developers: it reports by panicking"
)]

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde_json::{Map, Value};

use crate::servers::Servers;

mod receipts;
mod send;
mod servers;
mod timers;
mod topics;
mod values;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    scenario: Scenario,
}

#[derive(Debug, Subcommand)]
enum Scenario {
    /// Messages that wait for their time; the broker is killed while they come due.
    Timers {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        plan: timers::Plan,
    },
    /// Messages popped and not acknowledged; the broker is killed; then they are.
    Receipts {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        plan: receipts::Plan,
    },
    /// Topics: made, at rest, asked for, and there again after a kill.
    Topics {
        #[command(flatten)]
        at: At,
        #[command(flatten)]
        plan: topics::Plan,
    },
}

#[derive(Debug, Args)]
struct At {
    /// File of NAME=VALUE lines: NAMESRV, NAMESRV_PID, BROKER_ADDR, BROKER_PID.
    #[arg(long)]
    env: PathBuf,
    /// Shell command that starts the broker on its old store, writes its BROKER_PID into that file and returns.
    #[arg(long)]
    start: String,
}

impl At {
    fn servers(self) -> Servers {
        Servers::new(self.env, self.start)
    }
}

/// What was found, by name.
type Figures = Map<String, Value>;

#[tokio::main]
async fn main() {
    let figures = match Arguments::parse().scenario {
        Scenario::Timers { at, plan } => timers::run(&at.servers(), &plan).await,
        Scenario::Receipts { at, plan } => receipts::run(&at.servers(), &plan).await,
        Scenario::Topics { at, plan } => topics::run(&at.servers(), &plan).await,
    };
    println!("{}", Value::Object(figures));
}
