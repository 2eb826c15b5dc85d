//! The command line of OrbitMQ: reads the arguments, runs one command, prints what it reports.

mod args;
mod bench;
mod broker;
mod cluster;
mod controller;
mod dead;
mod dev;
mod doctor;
mod failure;
mod group;
mod message;
mod migrate;
mod namesrv;
mod report;
mod send;
mod session;
mod shown;
mod tail;
mod time;
mod topic;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Command};
use crate::failure::Failure;
use crate::report::Report;
use crate::session::Session;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let output = arguments.output;
    let ended = run(arguments).and_then(|report| report.print(output));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read our output has seen enough.
        Err(Failure::Print(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("orbitmq: {failure}");
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(arguments: Arguments) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::Runtime)?;
    let ended = runtime.block_on(command(arguments));
    // A look-up of a host name may still be under way; nobody waits for it.
    runtime.shutdown_background();
    ended
}

async fn command(arguments: Arguments) -> Result<Report, Failure> {
    let output = arguments.output;
    let session = || Session::new(&arguments.nameserver, arguments.timeout);
    match arguments.command {
        Command::Dev(dev) => dev::run(dev, output).await,
        Command::Topic(topic) => topic::run(topic, session()?).await,
        Command::Group(group) => group::run(group, session()?).await,
        Command::Cluster => cluster::run(session()?).await,
        Command::Controller(controller) => controller::run(controller, session()?).await,
        Command::Broker(broker) => broker::run(broker, session()?).await,
        Command::Send(send) => send::run(send, session()?).await,
        Command::Tail(tail) => tail::run(tail, session()?, output).await,
        Command::Dead(dead) => dead::run(dead, session()?).await,
        Command::Doctor(doctor) => doctor::run(&doctor, &session()?).await,
        Command::Message(message) => message::run(message, session()?).await,
        Command::Migrate(migrate) => migrate::run(migrate, session()?, output).await,
        Command::Namesrv(namesrv) => namesrv::run(namesrv, session()?).await,
        Command::Bench(bench) => bench::run(bench, session()?).await,
    }
}
