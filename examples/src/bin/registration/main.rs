//! The registration application: people register on a page, a separate process sends their mails.

mod applicant;
mod backoff;
mod database;
mod event;
mod ledger;
mod mailbox;
mod mailer;
mod pace;
mod refusal;
mod relay;
mod session;
mod smtp;
mod users;
mod web;

fn main() {}
