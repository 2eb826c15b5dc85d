//! Registers people as a browser would, waits for their mails, prints what happened when.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use orbitmq_examples::clock::ms_between;
use orbitmq_examples::http::{self, HttpError};
use serde_json::json;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::database::DatabaseError;
use crate::mailbox::Mailbox;
use crate::users::User;

const REQUEST_BOUND: Duration = Duration::from_secs(30);
/// How long mails may take after the last registration.
pub const MAIL_BOUND: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(20);

const PEOPLE: [&str; 10] = [
    "Ada Lovelace",
    "Alan Turing",
    "Grace Hopper",
    "Edsger Dijkstra",
    "Barbara Liskov",
    "Donald Knuth",
    "Radia Perlman",
    "Leslie Lamport",
    "Frances Allen",
    "Tony Hoare",
];

/// Somebody could not register.
#[derive(Debug, thiserror::Error)]
pub enum VisitError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the web service refused {0}: {1}")]
    Refused(String, String),
    #[error("the web service answered with something else than a user: {0}")]
    Answer(#[from] serde_json::Error),
    #[error(transparent)]
    Database(#[from] DatabaseError),
}

/// Somebody in front of the page.
pub struct Visitor {
    pub page: SocketAddr,
    /// The local mailbox, if mails go there.
    pub mailbox: Option<Mailbox>,
}

/// A mail on its way or not.
struct Arrival {
    user: User,
    /// When it was in the mailbox; when the mail server had it, if that is another.
    mailed_us: Option<i64>,
    copies: u32,
}

impl Visitor {
    /// Registers somebody by name, with an address that was never used.
    pub async fn register(&self, path: &str, name: &str) -> Result<User, VisitError> {
        let token = Uuid::new_v4().simple().to_string();
        let token: String = token.chars().take(6).collect();
        let email = format!("{}.{token}@example.org", name.to_lowercase().replace(' ', "."));
        let (status, answer) =
            http::post(self.page, path, &json!({ "name": name, "email": email }), REQUEST_BOUND).await?;
        if !(200..300).contains(&status) {
            return Err(VisitError::Refused(email, answer.to_string()));
        }
        Ok(serde_json::from_value(answer)?)
    }

    /// Waits until the user is mailed or refused, and the steps are noted.
    pub async fn wait(&self, user: &User, deadline: Instant) -> Result<User, VisitError> {
        let path = format!("/api/registrations/{}", user.id);
        loop {
            let (_, answer) = http::get(self.page, &path, REQUEST_BOUND).await?;
            let now: User = serde_json::from_value(answer)?;
            if now.is_complete() || Instant::now() >= deadline {
                return Ok(now);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    async fn arrival(&self, user: &User, deadline: Instant) -> Result<Arrival, VisitError> {
        let user = self.wait(user, deadline).await?;
        let Some(mailbox) = &self.mailbox else {
            let copies = u32::from(user.mailed_us.is_some() && user.refused.is_none());
            return Ok(Arrival { mailed_us: user.mailed_us, user, copies });
        };
        let mail = mailbox.find(user.registered().mail_id()).await?;
        Ok(Arrival {
            mailed_us: mail.as_ref().map(|mail| mail.received_us),
            copies: mail.map_or(0, |mail| mail.copies),
            user,
        })
    }
}

/// Registers people one after the other; fails if one of them has no mail in the end.
pub async fn run(visitor: &Visitor, people: u32) -> Result<ExitCode, VisitError> {
    let mut users = Vec::new();
    for name in PEOPLE.iter().cycle().zip(0..people).map(|(name, _)| name) {
        users.push(visitor.register("/api/registrations", name).await?);
    }
    let deadline = Instant::now() + MAIL_BOUND;
    let mut arrivals = Vec::new();
    for user in &users {
        arrivals.push(visitor.arrival(user, deadline).await?);
    }
    print(&arrivals);
    let missing = arrivals.iter().filter(|arrival| arrival.copies == 0).count();
    if missing > 0 {
        println!("{missing} of {people} have no mail after {MAIL_BOUND:?}.");
        return Ok(ExitCode::FAILURE);
    }
    println!("All {people} have their mail.");
    Ok(ExitCode::SUCCESS)
}

fn print(arrivals: &[Arrival]) {
    println!("\nms since the request came; the mail follows the answer:\n");
    println!(
        "{:<18} {:<34} {:>8} {:>9} {:>9} {:>8} {:>6}",
        "name", "e-mail", "saved", "enqueued", "answered", "mailed", "mails"
    );
    for Arrival { user, mailed_us, copies } in arrivals {
        let at = |time: Option<i64>| {
            time.map_or_else(|| "-".to_owned(), |time| format!("{:.1}", ms_between(user.asked_us, time)))
        };
        let (saved, enqueued, answered) = (at(Some(user.saved_us)), at(user.enqueued_us), at(user.answered_us));
        let (name, email, mailed) = (&user.name, &user.email, at(*mailed_us));
        println!("{name:<18} {email:<34} {saved:>8} {enqueued:>9} {answered:>9} {mailed:>8} {copies:>6}");
    }
    println!();
}
