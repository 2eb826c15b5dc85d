//! The mailer as a child process: started again when it dies, ended with its parent.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, ChildStdin, Command};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::cli::WholeArgs;
use crate::smtp::Encryption;

/// How long a mailer may take to end in peace.
const STOP_BOUND: Duration = Duration::from_secs(5);

/// What the mailer is started with.
pub struct Mailer {
    program: PathBuf,
    arguments: Vec<String>,
    password: Option<String>,
}

impl Mailer {
    /// This very program, asked for its subcommand `mail`.
    pub fn new(whole: &WholeArgs, nameservers: &[String], data: &Path, smtp: &str, log: &str) -> io::Result<Self> {
        let mut arguments = vec!["mail".to_owned(), "--with-parent".to_owned()];
        let mut flag = |name: &str, value: &str| arguments.extend([format!("--{name}"), value.to_owned()]);
        flag("nameserver", &nameservers.join(","));
        flag("data", &data.to_string_lossy());
        flag("smtp", smtp);
        flag("from", &whole.smtp_args.from);
        flag("log", log);
        let tls = match whole.smtp_args.smtp_tls {
            Encryption::None => "none",
            Encryption::Starttls => "starttls",
            Encryption::Tls => "tls",
        };
        flag("smtp-tls", tls);
        if let Some(user) = &whole.smtp_args.smtp_user {
            flag("smtp-user", user);
        }
        if whole.pace {
            arguments.push("--pace".to_owned());
        }
        Ok(Self { program: std::env::current_exe()?, arguments, password: whole.smtp_args.smtp_password.clone() })
    }

    /// Keeps a mailer running until `stop`.
    pub async fn keep(self, stop: CancellationToken) {
        let mut backoff = Backoff::new();
        while !stop.is_cancelled() {
            match self.start() {
                Err(error) => eprintln!("the mailer does not start: {error}"),
                Ok(mut child) => {
                    let leash = child.stdin.take(); // waiting for the child would close it
                    tokio::select! {
                        status = child.wait() => eprintln!("the mailer ended ({}); it is started again", ending(status)),
                        () = stop.cancelled() => return end(child, leash).await,
                    }
                }
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(backoff.next()) => {}
            }
        }
    }

    fn start(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(Stdio::piped()).stdout(Stdio::inherit()).kill_on_drop(true);
        command.process_group(0); // Ctrl-C is for the parent, which ends this one when it is time
        if let Some(password) = &self.password {
            command.env("SMTP_PASSWORD", password); // not an argument: those are for everyone to see
        }
        command.spawn()
    }
}

fn ending(status: io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// Closes the child's standard input, at which it ends; kills it if it does not.
async fn end(mut child: Child, leash: Option<ChildStdin>) {
    drop(leash);
    if tokio::time::timeout(STOP_BOUND, child.wait()).await.is_err() {
        tracing::warn!("the mailer did not end within {STOP_BOUND:?} and is killed");
        if let Err(error) = child.kill().await {
            tracing::warn!("the mailer could not be killed: {error}");
        }
    }
}
