//! The arguments that all commands share, and the list of commands.

use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::report::Output;
use crate::{bench, broker, controller, dead, dev, doctor, group, message, migrate, namesrv, send, tail, time, topic};

/// OrbitMQ from the command line: a server for development, administration, messages, load.
///
/// Works against OrbitMQ and against Apache RocketMQ. Exit codes: 0 done, 1 not done, 2 the command line is wrong.
#[derive(Debug, Parser)]
#[command(name = "orbitmq", version, max_term_width = 120)]
pub struct Arguments {
    /// Name servers, host:port each, separated by ';' or ','.
    #[arg(
        long,
        short,
        global = true,
        env = "ORBITMQ_NAMESERVER",
        value_name = "HOST:PORT",
        default_value = "127.0.0.1:9876"
    )]
    pub nameserver: String,
    /// How to print: columns for people, one line of JSON for programs.
    #[arg(long, short, global = true, value_enum, value_name = "FORM", default_value_t)]
    pub output: Output,
    /// How long one answer of a server may take.
    #[arg(long, global = true, value_name = "TIME", default_value = "5s", value_parser = time::parse_length)]
    pub timeout: Duration,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a name server and a broker in this process, for development.
    Dev(dev::Arguments),
    /// Topics: list, show, create, delete, route, stats.
    #[command(subcommand)]
    Topic(topic::Command),
    /// Groups of consumers: list, create, delete, lag, members, reset.
    #[command(subcommand)]
    Group(group::Command),
    /// Find out why a topic does not work: name servers, route, brokers, permissions, copies, groups.
    Doctor(doctor::Arguments),
    /// Dead letters: list, peek, replay, purge.
    #[command(subcommand)]
    Dead(dead::Command),
    /// Show all brokers and how they are.
    Cluster,
    /// The controller quorum in the name servers: status, add, remove, elect.
    #[command(subcommand)]
    Controller(controller::Command),
    /// Figures and settings of brokers.
    #[command(subcommand)]
    Broker(broker::Command),
    /// Send one message.
    Send(send::Arguments),
    /// Print messages as they come.
    Tail(tail::Arguments),
    /// Find messages by id or by key.
    Message(message::Arguments),
    /// From a running Apache RocketMQ master to a broker of ours, and the way back.
    #[command(subcommand)]
    Migrate(migrate::Command),
    /// Settings that name servers keep.
    #[command(subcommand)]
    Namesrv(namesrv::Command),
    /// Measure throughput, latency and the server's cost.
    #[command(subcommand)]
    Bench(bench::Command),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
