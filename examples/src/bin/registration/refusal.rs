//! Answers to requests that are not fulfilled: status, cause and cure as JSON.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::applicant::Invalid;
use crate::database::DatabaseError;
use crate::smtp::MailError;

#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("{0}")]
    Form(#[from] JsonRejection),
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("{0} is registered already.")]
    Taken(String),
    #[error("{0} registrations are in hand; please try again in a moment.")]
    Busy(usize),
    #[error("There is no such registration.")]
    NoSuchUser,
    #[error("There is no such page; the application is at /.")]
    NoSuchPage,
    #[error("This page does not take that method.")]
    WrongMethod,
    #[error("The direct way exists only with --pace, to be compared with.")]
    NoDirectWay,
    #[error("Saved, but the mail did not go out: {0}")]
    Mail(#[from] MailError),
    #[error("Nothing was registered, please try again: {0}")]
    Database(#[from] DatabaseError),
    #[error("The answer cannot be written: {0}")]
    Broken(String),
}

impl Refusal {
    fn status(&self) -> StatusCode {
        match self {
            Self::Form(rejection) => rejection.status(),
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Taken(_) => StatusCode::CONFLICT,
            Self::Busy(_) | Self::Database(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::NoSuchUser | Self::NoSuchPage | Self::NoDirectWay => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::Mail(_) => StatusCode::BAD_GATEWAY,
            Self::Broken(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::warn!("{status}: {self}");
        }
        let (text, field) = match &self {
            Self::Form(rejection) => (rejection.body_text(), None),
            Self::Invalid(invalid) => (invalid.to_string(), Some(invalid.field)),
            Self::Taken(_) => (self.to_string(), Some("email")),
            _ => (self.to_string(), None),
        };
        (status, Json(json!({ "error": text, "field": field }))).into_response()
    }
}
