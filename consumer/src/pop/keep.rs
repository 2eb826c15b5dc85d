//! Keeps popped messages invisible to others for as long as whoever consumes has them in hand.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::time::Instant;

use crate::core::Core;
use crate::pop::popped::{self, ChangeError, Popped};

/// Requests under way at once.
const AT_ONCE: usize = 64;

/// Looks at the messages in hand and has those kept of whose time half is over.
pub(crate) async fn run(core: Arc<Core>) {
    let invisible = core.config.invisible;
    let look = (invisible / 8).clamp(Duration::from_millis(20), Duration::from_secs(5));
    loop {
        tokio::time::sleep(look).await;
        let soon = Instant::now() + invisible / 2;
        let due = core.in_hand.keepers().into_iter().filter(|popped| {
            let until = *popped.until.lock();
            until < soon && until > Instant::now()
        });
        stream::iter(due).for_each_concurrent(AT_ONCE, |popped| keep(&core, popped, invisible)).await;
    }
}

async fn keep(core: &Core, popped: Arc<Popped>, invisible: Duration) {
    match popped::change(core, &popped, invisible, true).await {
        Ok(()) => {}
        Err(ChangeError::Over) => core.desks.count_lost(1),
        Err(ChangeError::Failed(cause)) => {
            core.finder.stale(&popped.asked);
            tracing::debug!(
                id = popped.message().message_id(),
                cause,
                "a message in hand could not be kept for longer yet"
            );
        }
    }
}
