//! The web service: registers people, and shows what became of them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use orbitmq_examples::clock::now_us;
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::applicant::{Applicant, Form};
use crate::database::DatabaseError;
use crate::event::Mailed;
use crate::mailbox::Mailbox;
use crate::pace::{self, Pace};
use crate::refusal::Refusal;
use crate::relay::Relay;
use crate::smtp::MailServer;
use crate::transaction::{Outcome, Transactions};
use crate::users::{User, Users, Way};

const MAX_BODY: usize = 8 * 1024; // bytes of a form
const MAX_AT_ONCE: usize = 256; // registrations in hand
const SHOWN: u32 = 50; // users and mails in one look
/// How long an answer waits for the broker. The event is safe in the outbox either way.
const RECEIPT_BOUND: Duration = Duration::from_secs(2);
/// How long requests in hand may take to end when the service stops.
const STOP_BOUND: Duration = Duration::from_secs(5);

/// What the handlers share.
pub struct Web {
    pub users: Users,
    pub relay: Relay,
    /// What binds events to users; none: the outbox alone.
    pub transactions: Option<Transactions>,
    /// The local mailbox, if there is one to show.
    pub mailbox: Option<Mailbox>,
    pub pace: Pace,
    /// For the way without a queue, which exists only to be compared with.
    pub direct: Option<MailServer>,
    /// What the page says about the cluster.
    pub cluster: String,
    room: Semaphore,
    tasks: TaskTracker,
}

impl Web {
    pub fn new(users: Users, relay: Relay, cluster: String) -> Self {
        Self {
            users,
            relay,
            transactions: None,
            mailbox: None,
            pace: Pace::default(),
            direct: None,
            cluster,
            room: Semaphore::new(MAX_AT_ONCE),
            tasks: TaskTracker::new(),
        }
    }

    fn place(&self) -> Result<SemaphorePermit<'_>, Refusal> {
        self.room.try_acquire().map_err(|_| Refusal::Busy(MAX_AT_ONCE))
    }

    /// Notes the steps behind the answer, not before it.
    fn note_answer(self: &Arc<Self>, user: &mut User, saved_us: i64) {
        let (users, id, answered_us) = (self.users.clone(), user.id.clone(), now_us());
        (user.saved_us, user.answered_us) = (saved_us, Some(answered_us));
        self.tasks.spawn(async move {
            if let Err(error) = users.answered(id, saved_us, answered_us).await {
                tracing::warn!("the time of an answer could not be noted: {error}");
            }
        });
    }
}

/// Serves until `stop`.
pub async fn serve(listener: TcpListener, web: Arc<Web>, stop: CancellationToken) -> io::Result<()> {
    let serving =
        axum::serve(listener, router(Arc::clone(&web))).with_graceful_shutdown(stop.clone().cancelled_owned());
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(STOP_BOUND).await;
    };
    tokio::select! {
        ended = serving.into_future() => ended?,
        () = overdue => tracing::warn!("requests in hand did not end within {STOP_BOUND:?}"),
    }
    web.tasks.close();
    web.tasks.wait().await;
    Ok(())
}

fn router(web: Arc<Web>) -> Router {
    Router::new()
        .route("/", get(async || asset("text/html; charset=utf-8", include_str!("page/page.html"))))
        .route("/page.css", get(async || asset("text/css; charset=utf-8", include_str!("page/page.css"))))
        .route("/page.js", get(async || asset("text/javascript; charset=utf-8", include_str!("page/page.js"))))
        .route("/api/registrations", post(register))
        .route("/api/registrations/direct", post(register_directly))
        .route("/api/registrations/{id}", get(registration))
        .route("/api/state", get(state))
        .fallback(async || Refusal::NoSuchPage)
        .method_not_allowed_fallback(async || Refusal::WrongMethod)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(web)
}

fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-cache"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
    ];
    (headers, text)
}

/// Saves the user and makes sure of the event, answers.
async fn register(State(web): State<Arc<Web>>, form: Result<Json<Form>, JsonRejection>) -> Result<Response, Refusal> {
    let asked_us = now_us();
    let _place = web.place()?;
    let applicant = Applicant::check(&form?.0)?;
    let mut user = User::new(&applicant, Way::Queued, asked_us);
    let saved_us = match in_transaction(&web, &mut user, &applicant).await? {
        Some(saved_us) => saved_us,
        None => with_outbox(&web, &mut user, &applicant).await?,
    };
    web.note_answer(&mut user, saved_us);
    // 202: the event goes out as soon as the broker is back.
    let status = if user.enqueued_us.is_some() { StatusCode::CREATED } else { StatusCode::ACCEPTED };
    Ok((status, Json(user)).into_response())
}

/// Has the broker keep the event until the user is saved. None: no broker took it, and nothing is saved.
async fn in_transaction(web: &Web, user: &mut User, applicant: &Applicant) -> Result<Option<i64>, Refusal> {
    let Some(transactions) = &web.transactions else { return Ok(None) };
    let key = applicant.email_key();
    match transactions.register(user, key).await.map_err(|error| refusal(error, applicant))? {
        Outcome::Saved { saved_us, enqueued_us } => {
            user.enqueued_us = enqueued_us;
            Ok(Some(saved_us))
        }
        Outcome::NotBegun => {
            // Another event: should the broker have this one all the same, it is rolled back.
            *user = User::new(applicant, Way::Queued, user.asked_us);
            Ok(None)
        }
    }
}

/// Saves the user and the event together, waits a little for the broker's receipt.
async fn with_outbox(web: &Web, user: &mut User, applicant: &Applicant) -> Result<i64, Refusal> {
    let receipt = web.relay.expect(&user.event);
    pace::take(web.pace.save).await;
    let saved_us = save(web, user, applicant, Way::Queued).await?;
    web.relay.wake();
    user.enqueued_us = receipt.within(RECEIPT_BOUND).await;
    Ok(saved_us)
}

/// Saves the user, sends the mail, answers: slow, and whoever is killed in between leaves a user without a mail.
async fn register_directly(
    State(web): State<Arc<Web>>,
    form: Result<Json<Form>, JsonRejection>,
) -> Result<Response, Refusal> {
    let asked_us = now_us();
    let _place = web.place()?;
    let server = web.direct.as_ref().ok_or(Refusal::NoDirectWay)?;
    let applicant = Applicant::check(&form?.0)?;
    let mut user = User::new(&applicant, Way::Direct, asked_us);
    pace::take(web.pace.save).await;
    let saved_us = save(&web, &user, &applicant, Way::Direct).await?;
    pace::take(web.pace.mail).await;
    server.send(&user.registered()).await?;
    let mailed_us = now_us();
    let (event, id) = (user.event.clone(), user.id.clone());
    user.mailed_us = Some(mailed_us);
    web.users.mailed(Mailed { event, user: id, received_us: saved_us, done_us: mailed_us, refused: None }).await?;
    web.note_answer(&mut user, saved_us);
    Ok((StatusCode::CREATED, Json(user)).into_response())
}

async fn save(web: &Web, user: &User, applicant: &Applicant, way: Way) -> Result<i64, Refusal> {
    web.users.save(user, applicant.email_key(), way).await.map_err(|error| refusal(error, applicant))
}

fn refusal(error: DatabaseError, applicant: &Applicant) -> Refusal {
    if error.is_duplicate() { Refusal::Taken(applicant.email.clone()) } else { error.into() }
}

async fn registration(State(web): State<Arc<Web>>, Path(id): Path<String>) -> Result<Json<User>, Refusal> {
    web.users.find(id).await?.map(Json).ok_or(Refusal::NoSuchUser)
}

async fn state(State(web): State<Arc<Web>>) -> Result<impl IntoResponse, Refusal> {
    let mails = match &web.mailbox {
        Some(mailbox) => Some(mailbox.newest(SHOWN).await?),
        None => None,
    };
    let body = json!({
        "now_us": now_us(),
        "cluster": web.cluster,
        "direct": web.direct.is_some(),
        "waiting": web.users.count_waiting().await?,
        "users": as_json(web.users.newest(SHOWN).await?)?,
        "mails": as_json(mails)?,
    });
    Ok(([(CACHE_CONTROL, "no-store")], Json(body)))
}

fn as_json(value: impl Serialize) -> Result<serde_json::Value, Refusal> {
    serde_json::to_value(value).map_err(|error| Refusal::Broken(error.to_string()))
}

#[cfg(test)]
mod tests;
