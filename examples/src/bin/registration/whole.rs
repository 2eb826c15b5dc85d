//! The whole application in one command: cluster, page, mailbox, and the mailer as a child process.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use orbitmq_examples::cluster::{ClusterError, Embedded};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::child;
use crate::cli::WholeArgs;
use crate::compare;
use crate::database::DatabaseError;
use crate::event::{MAILED, REGISTERED};
use crate::mailbox::Mailbox;
use crate::once::{self, Visitor};
use crate::pace::Pace;
use crate::parts::{PartError, file_in, listen, run_web};
use crate::relay::Relay;
use crate::session;
use crate::smtp::{MailServer, SmtpError};
use crate::users::Users;
use crate::web::Web;

const USUAL: &str = "127.0.0.1:8080";
const ANY_PORT: &str = "127.0.0.1:0";
/// How long the parts in the background may take to end.
const STOP_BOUND: Duration = Duration::from_secs(10);

/// The application does not start.
#[derive(Debug, thiserror::Error)]
pub enum WholeError {
    #[error(transparent)]
    Part(#[from] PartError),
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Smtp(#[from] SmtpError),
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error("no temporary directory: {0}; give one with --data DIR")]
    Temporary(std::io::Error),
    #[error("the mailer's program is not known: {0}")]
    Program(std::io::Error),
    #[error(transparent)]
    Visit(#[from] once::VisitError),
}

/// Where everything is kept; a temporary directory goes with it.
struct Data {
    dir: PathBuf,
    _temporary: Option<TempDir>,
}

impl Data {
    fn new(given: Option<&PathBuf>) -> Result<Self, WholeError> {
        if let Some(dir) = given {
            return Ok(Self { dir: dir.clone(), _temporary: None });
        }
        let temporary = tempfile::Builder::new().prefix("registration-").tempdir().map_err(WholeError::Temporary)?;
        Ok(Self { dir: temporary.path().to_owned(), _temporary: Some(temporary) })
    }
}

/// What runs, and how it ends.
struct Whole {
    data: Data,
    cluster: Option<Embedded>,
    nameservers: Vec<String>,
    parts: TaskTracker,
    end: CancellationToken,
}

/// Runs until `stop`, or until what --once asks for is done.
pub async fn run(args: WholeArgs, log: &str, stop: CancellationToken) -> Result<ExitCode, WholeError> {
    let usual = if args.once.is_some() { ANY_PORT } else { USUAL };
    let (listener, page) = listen(args.listen.as_deref().unwrap_or(usual)).await?;
    let whole = Whole::new(&args).await?;
    let result = match whole.start(&args, log, listener, page).await {
        Ok(visitor) => tokio::select! {
            done = visit(&args, &visitor, &stop) => done,
            () = stop.cancelled() => Ok(ExitCode::SUCCESS),
            () = whole.end.cancelled() => Ok(ExitCode::FAILURE),
        },
        Err(error) => Err(error),
    };
    whole.stop().await;
    result
}

/// What the command line wants done, with the page open all the while.
async fn visit(args: &WholeArgs, visitor: &Visitor, stop: &CancellationToken) -> Result<ExitCode, WholeError> {
    let mut code = ExitCode::SUCCESS;
    if args.pace {
        compare::run(visitor).await?;
    }
    if let Some(people) = args.once {
        code = once::run(visitor, people).await?;
    } else {
        println!("\nOpen the page and register. Ctrl-C ends everything.");
        stop.cancelled().await;
    }
    Ok(code)
}

impl Whole {
    async fn new(args: &WholeArgs) -> Result<Self, WholeError> {
        let data = Data::new(args.data.as_ref())?;
        let mut nameservers = args.nameserver.clone();
        let mut cluster = None;
        if nameservers.is_empty() {
            let embedded = Embedded::start(&data.dir.join("cluster"), &[REGISTERED, MAILED]).await?;
            nameservers.push(embedded.nameserver().to_string());
            cluster = Some(embedded);
        }
        Ok(Self { data, cluster, nameservers, parts: TaskTracker::new(), end: CancellationToken::new() })
    }

    /// Starts mailbox, web service and mailer, and tells where they are.
    async fn start(
        &self,
        args: &WholeArgs,
        log: &str,
        listener: TcpListener,
        page: SocketAddr,
    ) -> Result<Visitor, WholeError> {
        let dir = &self.data.dir;
        let users = Users::open(&file_in(dir, "users.db")?)?;
        let mut web = Web::new(users, Relay::default(), self.cluster_text());
        let smtp = match &args.smtp {
            Some(smtp) => smtp.clone(),
            None => {
                let mailbox = Mailbox::open(&file_in(dir, "mailbox.db")?)?;
                let (listener, address) = listen(ANY_PORT).await?;
                self.parts.spawn(session::serve(listener, mailbox.clone(), self.end.clone()));
                web.mailbox = Some(mailbox);
                address.to_string()
            }
        };
        web.pace = Pace::new(args.pace);
        let server = MailServer::new(&smtp, &args.smtp_args)?;
        web.direct = args.pace.then_some(server);
        let visitor = Visitor { page, mailbox: web.mailbox.clone() };
        println!("page:    http://{page}/\ncluster: {}\ndata:    {}", self.cluster_text(), dir.display());
        let mailer = child::Mailer::new(args, &self.nameservers, dir, &smtp, log).map_err(WholeError::Program)?;
        self.parts.spawn(mailer.keep(self.end.clone()));
        let (nameservers, outbox, end) = (self.nameservers.clone(), args.outbox, self.end.clone());
        self.parts.spawn(async move {
            if let Err(error) = run_web(listener, web, &nameservers, outbox, end.clone()).await {
                eprintln!("{error}");
                end.cancel();
            }
        });
        Ok(visitor)
    }

    fn cluster_text(&self) -> String {
        match &self.cluster {
            Some(cluster) => {
                format!("embedded, name server {}, broker {}", cluster.nameserver(), cluster.broker())
            }
            None => format!("name servers {}", self.nameservers.join(", ")),
        }
    }

    async fn stop(self) {
        self.end.cancel();
        self.parts.close();
        if tokio::time::timeout(STOP_BOUND, self.parts.wait()).await.is_err() {
            tracing::warn!("not everything ended within {STOP_BOUND:?}");
        }
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
    }
}
