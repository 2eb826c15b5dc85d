//! What the web service and the mailer tell each other through the queue.

use serde::{Deserialize, Serialize};

/// Topic of registrations.
pub const REGISTERED: &str = "registration";
/// Topic of the mailer's reports.
pub const MAILED: &str = "registration-mailed";
/// Domain of Message-IDs.
pub const DOMAIN: &str = "registration.orbitmq";

/// Somebody registered and is owed a mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// Identity of the event, the same in every copy of it.
    pub event: String,
    pub user: String,
    pub name: String,
    pub email: String,
}

impl Registered {
    /// The same for every mail about this event, so that a receiver can fold a second one.
    pub fn mail_id(&self) -> String {
        format!("<{}@{DOMAIN}>", self.event)
    }
}

/// What became of the mail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mailed {
    pub event: String,
    pub user: String,
    /// When the mailer first had the event, µs since 1970.
    pub received_us: i64,
    /// When the mail server had accepted or refused the mail, µs since 1970.
    pub done_us: i64,
    /// Why the mail server will never take this mail.
    pub refused: Option<String>,
}
