//! The registration application: people register on a page, a separate process sends their mails.

mod applicant;
mod backoff;
mod child;
mod cli;
mod compare;
mod database;
mod event;
mod ledger;
mod mailbox;
mod mailer;
mod once;
mod pace;
mod parts;
mod queue;
mod refusal;
mod relay;
mod session;
mod smtp;
mod transaction;
mod users;
mod web;
mod whole;

use std::process::ExitCode;

use clap::Parser;
use orbitmq_common::shutdown;
use orbitmq_common::telemetry::{self, LogFormat};

use crate::cli::{Cli, Part};

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("registration: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<ExitCode, Box<dyn std::error::Error>> {
    telemetry::start(&cli.log, LogFormat::Text)?;
    let stop = shutdown::on_signals()?;
    match cli.part {
        None => return Ok(whole::run(cli.whole, &cli.log, stop).await?),
        Some(Part::Serve(args)) => parts::serve(args, stop).await?,
        Some(Part::Mail(args)) => parts::mail(args, stop).await?,
        Some(Part::Mailbox(args)) => parts::mailbox(args, stop).await?,
    }
    Ok(ExitCode::SUCCESS)
}
