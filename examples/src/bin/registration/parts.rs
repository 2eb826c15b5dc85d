//! The three parts, each as a process of its own or inside the whole: web service, mailer, mailbox.

use std::fs::{File, TryLockError};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orbitmq_consumer::{Consumer, StartFrom};
use orbitmq_producer::Producer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::cli::{MailArgs, MailboxArgs, ServeArgs};
use crate::database::DatabaseError;
use crate::event::{MAILED, REGISTERED};
use crate::ledger::Ledger;
use crate::mailbox::Mailbox;
use crate::mailer::Mailer;
use crate::pace::Pace;
use crate::queue;
use crate::relay::Relay;
use crate::session;
use crate::smtp::{MailServer, SmtpError};
use crate::transaction::Transactions;
use crate::users::Users;
use crate::web::{self, Web};

/// A part that does not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    #[error("'{0}' cannot be listened on: {1}; choose another with --listen HOST:PORT, port 0 is any free one")]
    Listen(String, std::io::Error),
    #[error("'{}' cannot be made: {cause}", path.display())]
    Directory { path: PathBuf, cause: std::io::Error },
    #[error("another mailer holds '{}'; give this one its own directory with --data DIR, or end the other", path.display())]
    Taken { path: PathBuf },
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Smtp(#[from] SmtpError),
    #[error(transparent)]
    Producer(#[from] orbitmq_producer::BuildError),
    #[error(transparent)]
    Consumer(#[from] orbitmq_consumer::BuildError),
    #[error("the web service ended: {0}")]
    Web(std::io::Error),
}

/// Listens on `address`; answers also with what it became.
pub async fn listen(address: &str) -> Result<(TcpListener, SocketAddr), PartError> {
    let fail = |error| PartError::Listen(address.to_owned(), error);
    let listener = TcpListener::bind(address).await.map_err(fail)?;
    let bound = listener.local_addr().map_err(fail)?;
    Ok((listener, bound))
}

/// A file of this name in a directory that is made if it is missing.
pub fn file_in(dir: &Path, name: &str) -> Result<PathBuf, PartError> {
    std::fs::create_dir_all(dir).map_err(|error| PartError::Directory { path: dir.to_owned(), cause: error })?;
    Ok(dir.join(name))
}

/// The subcommand `serve`.
pub async fn serve(args: ServeArgs, stop: CancellationToken) -> Result<(), PartError> {
    let users = Users::open(&file_in(&args.data, "users.db")?)?;
    let cluster = format!("name servers {}", args.nameserver.join(", "));
    let mut web = Web::new(users, Relay::default(), cluster);
    if let Some(dir) = &args.mailbox {
        web.mailbox = Some(Mailbox::open(&file_in(dir, "mailbox.db")?)?);
    }
    let (listener, address) = listen(&args.listen).await?;
    println!("page: http://{address}/");
    run_web(listener, web, &args.nameserver, args.outbox, stop).await
}

/// The web service with its relay and its ear for the mailer's reports. `outbox`: without transactions.
pub async fn run_web(
    listener: TcpListener,
    mut web: Web,
    nameservers: &[String],
    outbox: bool,
    stop: CancellationToken,
) -> Result<(), PartError> {
    if !outbox {
        web.transactions = Some(Transactions::new(nameservers, web.users.clone(), web.pace).await?);
    }
    let web = Arc::new(web);
    let producer = Producer::builder().nameservers(nameservers).group("registration").build().await?;
    let (behind, stop_behind) = (TaskTracker::new(), CancellationToken::new());
    let (relay, users, publish, halt) =
        (web.relay.clone(), web.users.clone(), queue::publish(producer.clone(), web.pace), stop_behind.clone());
    behind.spawn(async move { relay.run(users, publish, halt).await });
    let (known, halt) = (Arc::clone(&web), stop_behind.clone());
    behind.spawn(async move {
        if let Some(transactions) = &known.transactions {
            transactions.be_known(&halt).await;
        }
    });
    let reports = Consumer::builder()
        .nameservers(nameservers)
        .group("registration-web")
        .subscribe(MAILED, "*")
        .start_from(StartFrom::First)
        .max_deliveries(i32::MAX);
    behind.spawn(queue::take_reports(reports, web.users.clone(), stop_behind.clone()));
    let ended = web::serve(listener, Arc::clone(&web), stop).await;
    // The relay outlives the requests: it may still bring their events out.
    stop_behind.cancel();
    behind.close();
    behind.wait().await;
    producer.close().await;
    if let Some(transactions) = &web.transactions {
        transactions.close().await;
    }
    ended.map_err(PartError::Web)
}

/// The subcommand `mail`.
pub async fn mail(args: MailArgs, stop: CancellationToken) -> Result<(), PartError> {
    if args.with_parent {
        stop_with_parent(stop.clone());
    }
    let _alone = claim(&file_in(&args.data, "mailer.lock")?)?;
    let ledger = Ledger::open(&file_in(&args.data, "mailer.db")?)?;
    let server = MailServer::new(&args.smtp, &args.smtp_args)?;
    let producer = Producer::builder().nameservers(&args.nameserver).group("registration-mailer").build().await?;
    let report = queue::report(producer.clone());
    let mailer = Arc::new(Mailer::new(ledger, server, Pace::new(args.pace), report, stop.clone()));
    let registrations = Consumer::builder()
        .nameservers(&args.nameserver)
        .group("registration-mailer")
        .subscribe(REGISTERED, "*")
        .start_from(StartFrom::First)
        .max_deliveries(i32::MAX); // no mail ends among the dead letters
    println!("mailer: process {}, mail server {}", std::process::id(), args.smtp);
    queue::take_registrations(registrations, mailer, stop).await;
    producer.close().await;
    Ok(())
}

/// The subcommand `mailbox`.
pub async fn mailbox(args: MailboxArgs, stop: CancellationToken) -> Result<(), PartError> {
    let mailbox = Mailbox::open(&file_in(&args.data, "mailbox.db")?)?;
    let (listener, address) = listen(&args.listen).await?;
    println!("mailbox: SMTP {address}");
    session::serve(listener, mailbox, stop).await;
    Ok(())
}

/// Makes sure that this is the only mailer with this record: two could each send the mail of an event they both hold.
fn claim(path: &Path) -> Result<File, PartError> {
    let fail = |cause| PartError::Directory { path: path.to_owned(), cause };
    let file = File::create(path).map_err(fail)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(PartError::Taken { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(fail(error)),
    }
}

/// The parent holds the other end of standard input; the system closes it however the parent dies.
fn stop_with_parent(stop: CancellationToken) {
    std::thread::spawn(move || {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
        stop.cancel();
    });
}
