//! Writes the welcome mail and hands it to a mail server.

use std::time::Duration;

use clap::{Args, ValueEnum};
use lettre::message::header::{ContentTransferEncoding, ContentType};
use lettre::message::{Mailbox, Message, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use uuid::Uuid;

use crate::applicant::{Applicant, Form};
use crate::event::{DOMAIN, Registered};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Replies that speak of the recipient; any other refusal may be ours or the server's to repair.
const NO_SUCH_RECIPIENT: [&str; 3] = ["550", "551", "553"];

/// Which mail server, and how to speak to it.
#[derive(Debug, Clone, Args)]
pub struct SmtpArgs {
    /// Encryption towards the mail server
    #[arg(long, value_enum, default_value_t = Encryption::None)]
    pub smtp_tls: Encryption,
    /// User name at the mail server; the password comes from the environment
    #[arg(long, requires = "smtp_password")]
    pub smtp_user: Option<String>,
    /// Password at the mail server
    #[arg(long, env = "SMTP_PASSWORD", hide_env_values = true)]
    pub smtp_password: Option<String>,
    /// Sender of the mails
    #[arg(long, default_value = "Registration <registration@orbitmq.example>")]
    pub from: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Encryption {
    /// Plain text: for a server on this machine
    None,
    /// Plain text first, then TLS before anything is told (usually port 587)
    Starttls,
    /// TLS from the first byte (usually port 465)
    Tls,
}

/// A mail that did not go out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MailError {
    /// No conversation with the mail server; it concerns every mail.
    #[error("the mail server cannot be spoken to: {0}")]
    Down(String),
    /// The mail server answered that it does not take this mail now.
    #[error("the mail server does not take the mail now: {0}")]
    Later(String),
    /// Nobody can be reached at this address.
    #[error("the mail server refuses the address: {0}")]
    Refused(String),
}

/// Flags about the mail server that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SmtpError {
    #[error("--smtp '{0}': give the mail server as HOST:PORT, for instance localhost:25")]
    Address(String),
    #[error("--from '{0}': give the sender as name@example.org or 'Name <name@example.org>'")]
    Sender(String),
    #[error("TLS towards '{0}' cannot be set up: {1}")]
    Tls(String, String),
}

/// A mail server to hand mails to.
#[derive(Clone)]
pub struct MailServer {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
}

impl MailServer {
    pub fn new(server: &str, args: &SmtpArgs) -> Result<Self, SmtpError> {
        let bad = || SmtpError::Address(server.to_owned());
        let (host, port) = server.rsplit_once(':').ok_or_else(bad)?;
        let port: u16 = port.parse().map_err(|_| bad())?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(bad());
        }
        let secure =
            || TlsParameters::new(host.to_owned()).map_err(|error| SmtpError::Tls(host.to_owned(), error.to_string()));
        let tls = match args.smtp_tls {
            Encryption::None => Tls::None,
            Encryption::Starttls => Tls::Required(secure()?),
            Encryption::Tls => Tls::Wrapper(secure()?),
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(port)
            .tls(tls)
            .timeout(Some(TIMEOUT))
            .hello_name(ClientId::Domain(DOMAIN.to_owned()));
        if let (Some(user), Some(password)) = (&args.smtp_user, &args.smtp_password) {
            builder = builder.credentials(Credentials::new(user.clone(), password.clone()));
        }
        let from = args.from.parse().map_err(|_| SmtpError::Sender(args.from.clone()))?;
        Ok(Self { transport: builder.build(), from })
    }

    /// Sends the welcome mail; returns once the server has accepted it.
    pub async fn send(&self, registered: &Registered) -> Result<(), MailError> {
        let mail = compose(&self.from, registered).map_err(MailError::Refused)?;
        match self.transport.send(mail).await {
            Ok(_) => Ok(()),
            Err(error) => Err(match error.status().map(|code| code.to_string()) {
                None => MailError::Down(chain(&error)),
                Some(code) if NO_SUCH_RECIPIENT.contains(&code.as_str()) => MailError::Refused(chain(&error)),
                Some(_) => MailError::Later(chain(&error)),
            }),
        }
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}

/// Whether an event that came from the queue can be made into a mail.
pub fn check(registered: &Registered) -> Result<(), String> {
    Uuid::parse_str(&registered.event).map_err(|error| format!("event id '{}': {error}", registered.event))?;
    let form = Form { name: registered.name.clone(), email: registered.email.clone() };
    Applicant::check(&form).map(drop).map_err(|invalid| invalid.to_string())
}

fn recipient(registered: &Registered) -> Result<Mailbox, String> {
    let address = registered.email.parse().map_err(|error| format!("address '{}': {error}", registered.email))?;
    Ok(Mailbox::new(Some(registered.name.clone()), address))
}

fn compose(from: &Mailbox, registered: &Registered) -> Result<Message, String> {
    let text = format!(
        "Hello {},\r\n\r\nwelcome! Your registration is saved and this mail is its proof.\r\n\r\n\
         Registration {}\r\n",
        registered.name, registered.event
    );
    let body = SinglePart::builder()
        .header(ContentType::TEXT_PLAIN)
        .header(ContentTransferEncoding::QuotedPrintable)
        .body(text);
    Message::builder()
        .from(from.clone())
        .to(recipient(registered)?)
        .subject("Welcome")
        .message_id(Some(registered.mail_id()))
        .date_now()
        .singlepart(body)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::{Encryption, MailServer, SmtpArgs, check, compose};
    use crate::event::Registered;

    fn registered(name: &str) -> Registered {
        Registered {
            event: "0190e4a6-0000-7000-8000-000000000001".into(),
            user: "u".into(),
            name: name.into(),
            email: "ada@example.org".into(),
        }
    }

    fn args() -> SmtpArgs {
        SmtpArgs { smtp_tls: Encryption::None, smtp_user: None, smtp_password: None, from: "R <r@example.org>".into() }
    }

    #[test]
    fn the_same_event_gives_the_same_message_id() {
        let mail =
            compose(&"R <r@example.org>".parse().unwrap(), &registered("Zoë \u{7f} \"<b>\\ Bcc: all@example.org"))
                .unwrap();
        let text = String::from_utf8(mail.formatted()).unwrap();
        let head = text.split_once("\r\n\r\n").unwrap().0;
        assert!(head.contains("Message-ID: <0190e4a6-0000-7000-8000-000000000001@registration.orbitmq>"), "{head}");
        assert!(!head.contains("\r\nBcc"), "{head}");
        assert!(text.is_ascii());
    }

    #[test]
    fn refuses_events_and_flags_it_cannot_use() {
        assert_eq!(check(&registered("Ada")), Ok(()));
        assert!(check(&Registered { event: "a>b".into(), ..registered("Ada") }).is_err());
        assert!(check(&registered("Zoë\r\nBcc: all@example.org")).is_err());
        assert!(check(&Registered { email: "nobody".into(), ..registered("Ada") }).is_err());
        for server in ["", "localhost", "localhost:", ":25", "localhost:99999"] {
            assert!(MailServer::new(server, &args()).is_err(), "{server}");
        }
        assert!(MailServer::new("localhost:25", &SmtpArgs { from: "nobody".into(), ..args() }).is_err());
    }
}
