//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::smtp::SmtpArgs;

/// People register on a page; a separate process sends their mails.
///
/// Without a subcommand everything runs: the page, the mailer as a child process, a local mailbox, and an embedded name
/// server and broker unless --nameserver names a running cluster.
#[derive(Debug, Parser)]
#[command(name = "registration", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to log to stderr: error, warn, info, debug, or directives
    #[arg(long, global = true, default_value = "warn", env = "ORBITMQ_LOG")]
    pub log: String,
    #[command(flatten)]
    pub whole: WholeArgs,
    #[command(subcommand)]
    pub part: Option<Part>,
}

#[derive(Debug, Subcommand)]
pub enum Part {
    /// The web service alone
    Serve(ServeArgs),
    /// The mailer alone: takes registrations from the queue and sends the mails
    Mail(MailArgs),
    /// A small local mail server that takes mails for anybody
    Mailbox(MailboxArgs),
}

#[derive(Debug, Args)]
pub struct WholeArgs {
    /// Where the page is served [default: 127.0.0.1:8080, with --once a free port]
    #[arg(long, value_name = "HOST:PORT")]
    pub listen: Option<String>,
    /// Name servers of a running cluster [default: an embedded cluster]
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub nameserver: Vec<String>,
    /// Directory of everything that is kept [default: a temporary one]
    #[arg(long, visible_alias = "data-dir", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Mail server to use [default: the local mailbox]
    #[arg(long, value_name = "HOST:PORT")]
    pub smtp: Option<String>,
    #[command(flatten)]
    pub smtp_args: SmtpArgs,
    /// Sends events through an outbox in the database of users instead of transactions
    #[arg(long)]
    pub outbox: bool,
    /// Registers so many people, waits for their mails, prints a table and exits
    #[arg(long, value_name = "PEOPLE", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub once: Option<u32>,
    /// Makes saving take 400, enqueuing 100 and mailing 600 ms, and compares with mailing before the answer
    #[arg(long)]
    pub pace: bool,
}

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Where the page is served
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8080")]
    pub listen: String,
    /// Name servers of the cluster
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', required = true)]
    pub nameserver: Vec<String>,
    /// Directory of the users and their outbox
    #[arg(long, visible_alias = "data-dir", value_name = "DIR")]
    pub data: PathBuf,
    /// Directory of a mailbox on this machine, to show its mails
    #[arg(long, value_name = "DIR")]
    pub mailbox: Option<PathBuf>,
    /// Sends events through an outbox in the database of users instead of transactions
    #[arg(long)]
    pub outbox: bool,
}

#[derive(Debug, Args)]
pub struct MailArgs {
    /// Name servers of the cluster
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', required = true)]
    pub nameserver: Vec<String>,
    /// Directory of the record of sent mails; each mailer has its own
    #[arg(long, visible_alias = "data-dir", value_name = "DIR")]
    pub data: PathBuf,
    /// Mail server to use
    #[arg(long, value_name = "HOST:PORT")]
    pub smtp: String,
    #[command(flatten)]
    pub smtp_args: SmtpArgs,
    /// Makes every mail take 600 ms
    #[arg(long)]
    pub pace: bool,
    /// Ends when standard input ends, as it does when the parent dies
    #[arg(long, hide = true)]
    pub with_parent: bool,
}

#[derive(Debug, Args)]
pub struct MailboxArgs {
    /// Where mails are taken
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:2525")]
    pub listen: String,
    /// Directory of the mails
    #[arg(long, visible_alias = "data-dir", value_name = "DIR")]
    pub data: PathBuf,
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Cli, Part};

    #[test]
    fn takes_what_the_readme_says() {
        Cli::command().debug_assert();
        let whole = Cli::parse_from(["registration", "--once", "5", "--pace", "--nameserver", "a:1,b:2"]).whole;
        assert_eq!((whole.once, whole.pace, whole.nameserver.len()), (Some(5), true, 2));
        let serve = ["registration", "serve", "--listen", "0.0.0.0:8080", "--nameserver", "a:1", "--data-dir", "/data"];
        assert!(matches!(Cli::parse_from(serve).part, Some(Part::Serve(_))));
        for wrong in [["registration", "--once", "0"], ["registration", "mail", "--pace"]] {
            assert!(Cli::try_parse_from(wrong).is_err(), "{wrong:?}");
        }
    }
}
