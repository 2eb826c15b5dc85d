//! The direct way, mail before the answer, against the queued one.

use orbitmq_examples::clock::ms_between;
use tokio::time::Instant;

use crate::once::{MAIL_BOUND, VisitError, Visitor};
use crate::users::User;

/// Registers one person each way and prints how long they waited.
pub async fn run(visitor: &Visitor) -> Result<(), VisitError> {
    let direct = visitor.register("/api/registrations/direct", "Direct Way").await?;
    let queued = visitor.register("/api/registrations", "Queued Way").await?;
    let queued = visitor.wait(&queued, Instant::now() + MAIL_BOUND).await?;
    println!("\nSaving takes 400 ms, enqueuing 100 ms, mailing 600 ms:\n");
    println!("{:<8} {:>10} {:>10}   steps before the answer", "way", "answer", "mail");
    line("direct", &direct, "save, mail");
    line("queued", &queued, "save, enqueue (the mailer has the mail's 600 ms to itself)");
    println!();
    Ok(())
}

fn line(way: &str, user: &User, steps: &str) {
    let at = |time: Option<i64>| {
        time.map_or_else(|| "-".to_owned(), |time| format!("{:.0} ms", ms_between(user.asked_us, time)))
    };
    println!("{way:<8} {:>10} {:>10}   {steps}", at(user.answered_us), at(user.mailed_us));
}
