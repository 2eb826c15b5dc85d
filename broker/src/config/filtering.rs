//! Settings of filters.

use orbitmq_common::config::{ConfigError, Settings};

/// What consumers may filter by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Filtering {
    /// Whether conditions on properties (SQL92) are allowed.
    pub sql: bool,
    /// What becomes of a member that wants something else than its group.
    pub on_conflict: OnConflict,
}

/// What becomes of a member that wants something else than another of its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// It is counted, logged, and shown to administrators.
    #[default]
    Report,
    /// Its heartbeat is refused, so it gets no messages.
    Refuse,
}

impl Default for Filtering {
    fn default() -> Self {
        Self { sql: true, on_conflict: OnConflict::default() }
    }
}

/// Reads the settings of filters.
pub(super) fn read(settings: &Settings) -> Result<Filtering, ConfigError> {
    let sql = settings.get::<bool>("property_filter")?.unwrap_or(true);
    let on_conflict = match settings.text("subscription_conflicts") {
        None | Some("report") => OnConflict::Report,
        Some("refuse") => OnConflict::Refuse,
        Some(_) => return Err(settings.refuse("subscription_conflicts", "expected report or refuse")),
    };
    Ok(Filtering { sql, on_conflict })
}
