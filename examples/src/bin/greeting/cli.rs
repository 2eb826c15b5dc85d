//! The command line.

use clap::{Args, Parser, Subcommand};

/// Offers and calls a greeting service over the queue. Without a subcommand: a cluster, three providers and a consumer.
#[derive(Debug, Parser)]
#[command(name = "greeting", version)]
pub struct Cli {
    #[command(subcommand)]
    pub part: Option<Part>,
    /// Name servers of a running cluster [default: an embedded cluster]
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub nameserver: Vec<String>,
    /// Ends after one round; otherwise calls go on each second until Ctrl-C
    #[arg(long)]
    pub once: bool,
    /// What to log to stderr
    #[arg(long, default_value = "error", env = "ORBITMQ_LOG", global = true)]
    pub log: String,
}

#[derive(Debug, Subcommand)]
pub enum Part {
    /// Offers the service at one node
    Provide(ProvideArgs),
    /// Calls the service once
    Call(CallArgs),
}

#[derive(Debug, Args)]
pub struct ProvideArgs {
    /// Name servers
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', required = true)]
    pub nameserver: Vec<String>,
    /// Name of this node
    #[arg(long, value_name = "NAME", default_value = "greeter-1")]
    pub node: String,
    /// Ends when standard input ends, as it does when the parent dies
    #[arg(long, hide = true)]
    pub with_parent: bool,
}

#[derive(Debug, Args)]
pub struct CallArgs {
    /// Name servers
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', required = true)]
    pub nameserver: Vec<String>,
    /// Whom to greet
    #[arg(default_value = "world")]
    pub name: String,
}
