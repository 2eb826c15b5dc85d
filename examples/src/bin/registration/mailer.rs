//! From an event to its mail: received, accepted by the mail server, recorded, reported, acknowledged.

use std::collections::HashSet;

use orbitmq_examples::clock::now_us;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::event::{Mailed, Registered};
use crate::ledger::{Ledger, Outcome};
use crate::pace::{self, Pace};
use crate::smtp::{self, MailError, MailServer};

/// What the queue is told about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is dealt with.
    Ack,
    /// Bring it again later.
    Later,
    /// The mailer stops; whoever takes over gets it.
    Leave,
}

/// Deals with one event at a time per identity, as many as its caller likes at once.
pub struct Mailer<R> {
    ledger: Ledger,
    server: MailServer,
    pace: Pace,
    report: R,
    in_hand: Mutex<HashSet<String>>,
    stop: CancellationToken,
}

impl<R, F, E> Mailer<R>
where
    R: Fn(Mailed) -> F,
    F: Future<Output = Result<(), E>>,
    E: std::fmt::Display,
{
    /// `report` carries the outcome to the web service.
    pub fn new(ledger: Ledger, server: MailServer, pace: Pace, report: R, stop: CancellationToken) -> Self {
        Self { ledger, server, pace, report, in_hand: Mutex::default(), stop }
    }

    /// Deals with an event. After `Ack` a mail was accepted or refused, and that is recorded.
    pub async fn handle(&self, body: &[u8]) -> Verdict {
        let registered = match parse(body) {
            Ok(registered) => registered,
            Err(what) => {
                tracing::warn!("a message that is no registration is dropped: {what}");
                return Verdict::Ack;
            }
        };
        if !self.in_hand.lock().insert(registered.event.clone()) {
            return Verdict::Later; // a second copy; once the first is recorded, it is acknowledged without a mail
        }
        let verdict = tokio::select! {
            () = self.stop.cancelled() => Verdict::Leave,
            verdict = self.deal(&registered) => verdict,
        };
        self.in_hand.lock().remove(&registered.event);
        verdict
    }

    async fn deal(&self, registered: &Registered) -> Verdict {
        let mailed = match self.mail_once(registered).await {
            Ok(mailed) => mailed,
            Err(what) => {
                tracing::warn!(event = %registered.event, "the mail goes out later: {what}");
                return Verdict::Later;
            }
        };
        match (self.report)(mailed).await {
            Ok(()) => Verdict::Ack,
            Err(error) => {
                tracing::warn!(event = %registered.event, "mailed, but the report waits: {error}");
                Verdict::Later
            }
        }
    }

    /// Sends the mail unless it is recorded as sent.
    async fn mail_once(&self, registered: &Registered) -> Result<Mailed, String> {
        let event = &registered.event;
        let entry = self.ledger.attempt(event.clone()).await.map_err(|error| error.to_string())?;
        let outcome = match entry.outcome {
            Some(outcome) => {
                tracing::info!(%event, "came again; its mail is recorded, no second one is sent");
                outcome
            }
            None => {
                if entry.attempts > 0 {
                    tracing::info!(%event, "came again without a record; should its mail be out, its Message-ID is the same");
                }
                let outcome = self.mail(registered).await?;
                self.ledger.done(event.clone(), outcome.clone()).await.map_err(|error| error.to_string())?;
                outcome
            }
        };
        Ok(Mailed {
            event: event.clone(),
            user: registered.user.clone(),
            received_us: entry.received_us,
            done_us: outcome.done_us,
            refused: outcome.refused,
        })
    }

    /// Hands the mail over, however long the mail server is away.
    async fn mail(&self, registered: &Registered) -> Result<Outcome, String> {
        pace::take(self.pace.mail).await;
        let mut backoff = Backoff::new();
        loop {
            match self.server.send(registered).await {
                Ok(()) => return Ok(Outcome { done_us: now_us(), refused: None }),
                Err(MailError::Refused(why)) => return Ok(Outcome { done_us: now_us(), refused: Some(why) }),
                Err(MailError::Later(why)) => return Err(why),
                Err(MailError::Down(why)) => {
                    let pause = backoff.next();
                    tracing::warn!(event = %registered.event, "the mail server is away, next attempt in {pause:?}: {why}");
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }
}

fn parse(body: &[u8]) -> Result<Registered, String> {
    let registered = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    smtp::check(&registered)?;
    Ok(registered)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    use super::{Mailer, Verdict};
    use crate::event::{Mailed, Registered};
    use crate::ledger::Ledger;
    use crate::mailbox::Mailbox;
    use crate::pace::Pace;
    use crate::session;
    use crate::smtp::{Encryption, MailServer, SmtpArgs};

    fn event(email: &str) -> Vec<u8> {
        let registered = Registered {
            event: uuid::Uuid::now_v7().to_string(),
            user: "u".into(),
            name: "Zoë".into(),
            email: email.into(),
        };
        serde_json::to_vec(&registered).unwrap()
    }

    fn server(address: &str) -> MailServer {
        let args =
            SmtpArgs { smtp_tls: Encryption::None, smtp_user: None, smtp_password: None, from: "r@example.org".into() };
        MailServer::new(address, &args).unwrap()
    }

    async fn mailbox(dir: &Path) -> (Mailbox, String) {
        let mailbox = Mailbox::open(&dir.join("mailbox.db")).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(session::serve(listener, mailbox.clone(), CancellationToken::new()));
        (mailbox, address)
    }

    #[tokio::test]
    async fn one_mail_however_often_the_event_comes() {
        let dir = tempfile::tempdir().unwrap();
        let (mailbox, address) = mailbox(dir.path()).await;
        let ledger = Ledger::open(&dir.path().join("mailer.db")).unwrap();
        let reports = Arc::new(Mutex::new(Vec::new()));
        let report = |mailed: Mailed| {
            let mut reports = reports.lock();
            reports.push(mailed);
            let first = reports.len() == 1;
            async move { if first { Err("the broker is away") } else { Ok(()) } }
        };
        let mailer = Mailer::new(ledger, server(&address), Pace::default(), report, CancellationToken::new());
        let body = event("zoe@example.org");
        assert_eq!(mailer.handle(&body).await, Verdict::Later);
        assert_eq!(mailer.handle(&body).await, Verdict::Ack);
        assert_eq!(mailer.handle(&body).await, Verdict::Ack);

        let mails = mailbox.newest(10).await.unwrap();
        assert_eq!((mails.len(), mails[0].copies), (1, 1));
        assert_eq!(mails[0].recipient, "zoe@example.org");
        assert!(mails[0].text.contains("Hello Zoë,"), "{}", mails[0].text);
        let reports = reports.lock();
        assert_eq!(reports[0], reports[2]);
    }

    #[tokio::test]
    async fn waits_for_a_mail_server_that_is_away() {
        let dir = tempfile::tempdir().unwrap();
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = gone.local_addr().unwrap();
        drop(gone);
        let ledger = Ledger::open(&dir.path().join("mailer.db")).unwrap();
        let stop = CancellationToken::new();
        let report = |_| async { Ok::<_, String>(()) };
        let mailer = Mailer::new(ledger, server(&address.to_string()), Pace::default(), report, stop.clone());
        let body = event("zoe@example.org");
        let back = async {
            loop {
                // The first attempt is noted before it is made: from then on the mailer is waiting.
                if mailer.ledger.attempt("x".into()).await.unwrap().attempts > 3 {
                    break;
                }
            }
            let mailbox = Mailbox::open(&dir.path().join("mailbox.db")).unwrap();
            tokio::spawn(session::serve(TcpListener::bind(address).await.unwrap(), mailbox, stop.clone()));
        };
        let (verdict, ()) = tokio::join!(mailer.handle(&body), back);
        assert_eq!(verdict, Verdict::Ack);
    }

    #[tokio::test]
    async fn refused_addresses_are_reported_and_garbage_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let (mailbox, address) = mailbox(dir.path()).await;
        let ledger = Ledger::open(&dir.path().join("mailer.db")).unwrap();
        let reports = Mutex::new(Vec::new());
        let report = |mailed: Mailed| {
            reports.lock().push(mailed.refused.is_some());
            async { Ok::<_, String>(()) }
        };
        let mailer = Mailer::new(ledger, server(&address), Pace::default(), report, CancellationToken::new());
        assert_eq!(mailer.handle(&event("nobody@nowhere.invalid")).await, Verdict::Ack);
        assert_eq!(*reports.lock(), [true]);
        for garbage in [&b""[..], b"{}", b"\xff", b"[1,2]"] {
            assert_eq!(mailer.handle(garbage).await, Verdict::Ack);
        }
        assert_eq!(mailbox.newest(10).await.unwrap().len(), 0);
    }
}
