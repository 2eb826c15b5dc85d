//! The daemon around a name server: arguments, logs, signals, word to systemd.

use std::process::ExitCode;

use clap::Parser;
use orbitmq_common::{shutdown, telemetry};

use crate::config::{Args, Daemon};
use crate::node::Node;

/// Runs the daemon until a signal stops it.
pub fn run() -> ExitCode {
    let args = Args::parse();
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orbitmq-nameserver: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    // Variables that are not UTF-8 are none of ours.
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let daemon = Daemon::gather(args, environment)?;
    // The consensus tells everything that it does; what matters of it the controller tells itself.
    let quiet = if daemon.log.contains("openraft") { "" } else { ",openraft=off" };
    telemetry::start(&format!("{}{quiet}", daemon.log), daemon.log_format)?;
    for key in &daemon.ignored {
        tracing::info!(%key, "setting of RocketMQ without meaning here");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let stop = shutdown::on_signals()?;
        let node = Node::start(daemon.server).await?;
        telemetry::ready(&format!("accepts on {}", node.addr));
        stop.cancelled().await;
        telemetry::stopping();
        node.shutdown().await;
        Ok(())
    })
}
