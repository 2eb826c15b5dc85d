//! The broker as a program: settings, logs, signals, systemd.

use std::process::ExitCode;

use clap::Parser;
use orbitmq_common::{shutdown, telemetry};

use crate::config::{Arguments, Config};
use crate::node::Node;

/// Exit code for settings that cannot be used.
const BAD_SETTINGS: u8 = 2;

/// Runs the program to its end.
#[must_use]
pub fn main() -> ExitCode {
    let config = match Config::gather(Arguments::parse(), std::env::vars()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("orbitmq-broker: {error}");
            return ExitCode::from(BAD_SETTINGS);
        }
    };
    if let Err(error) = telemetry::start(&config.log, config.log_format) {
        eprintln!("orbitmq-broker: {error}");
        return ExitCode::from(BAD_SETTINGS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(|error| error.to_string()).and_then(|runtime| runtime.block_on(run(config))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(config: Config) -> Result<(), String> {
    let stop = shutdown::on_signals().map_err(|error| error.to_string())?;
    let node = Node::start(config).await.map_err(|error| error.to_string())?;
    telemetry::ready(&format!("listening on {}", node.bound()));
    let failed = tokio::select! {
        () = stop.cancelled() => None,
        reason = node.failed() => Some(reason),
    };
    telemetry::stopping();
    node.stop().await;
    failed.map_or(Ok(()), Err)
}
