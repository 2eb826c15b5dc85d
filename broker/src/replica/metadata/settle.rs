//! When a change of metadata is safe enough to be acknowledged.

use std::time::Duration;

use crate::broker::Broker;
use crate::meta::db::DbError;

/// How long slaves may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// A change cannot be acknowledged.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// It is not stored here.
    #[error(transparent)]
    Db(#[from] DbError),
    /// It is stored here alone.
    #[error(
        "the change is stored here but not yet at the in-sync slaves {members:?} after {DEADLINE:?}; it stands unless this broker is \
         lost now. Try again, or look why they are slow"
    )]
    Slaves {
        /// Their numbers.
        members: Vec<i64>,
    },
}

/// Waits until the change with this number survives the end of this process, and of every in-sync slave in `sync-replica`.
///
/// # Errors
/// See [`SettleError`].
pub async fn settled(broker: &Broker, number: u64) -> Result<(), SettleError> {
    broker.db.stored(number).await?;
    settled_at(broker, number, broker.in_sync_members()).await
}

/// Waits until all changes so far survive a power cut here, and the end of every in-sync slave in `sync-replica`.
///
/// # Errors
/// See [`SettleError`].
pub async fn synced(broker: &Broker) -> Result<(), SettleError> {
    let number = broker.db.newest();
    broker.db.sync().await?;
    settled_at(broker, number, broker.in_sync_members()).await
}

pub(super) async fn settled_at(broker: &Broker, number: u64, members: Vec<i64>) -> Result<(), SettleError> {
    let replicated = tokio::time::timeout(DEADLINE, broker.db.followers().replicated(number, &members)).await;
    replicated.map_err(|_| SettleError::Slaves { members })
}
