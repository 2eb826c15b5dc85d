//! A greeting service as Dubbo's examples have it: an interface, providers, a consumer, over the queue.

mod cli;
mod consume;
mod greeting;
mod provide;
mod whole;

use std::process::ExitCode;

use clap::Parser;
use orbitmq_calls::Caller;
use orbitmq_common::shutdown;
use orbitmq_common::telemetry::{self, LogFormat};

use crate::cli::{CallArgs, Cli, Part};
use crate::greeting::GreetingReference;

/// Whatever ends the program.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Cli::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("greeting: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(cli: Cli) -> Result<bool, Failure> {
    telemetry::start(&cli.log, LogFormat::Text)?;
    let stop = shutdown::on_signals()?;
    match cli.part {
        None => return whole::run(cli, stop).await,
        Some(Part::Provide(args)) => provide::run(args, stop).await?,
        Some(Part::Call(args)) => call(args).await?,
    }
    Ok(true)
}

async fn call(CallArgs { nameserver, name }: CallArgs) -> Result<(), Failure> {
    let caller = Caller::builder().nameservers(nameserver).name("visitor").build().await?;
    println!("{}", GreetingReference::new(caller.clone()).say_hello(&name).await?.text);
    caller.close().await;
    Ok(())
}
