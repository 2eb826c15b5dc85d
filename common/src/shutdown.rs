//! Turns SIGTERM and SIGINT into a token that everything waits on; a second signal leaves at once.

use std::io;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Signals so close to the first one are not a second wish to stop.
const SAME_WISH: Duration = Duration::from_millis(200);
/// Exit code after a second signal.
const IMPATIENT: i32 = 130;

/// A token that is cancelled by the first SIGTERM or SIGINT.
///
/// # Errors
/// The signal handlers cannot be installed.
pub fn on_signals() -> io::Result<CancellationToken> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        tracing::info!("stopping; a second signal leaves at once");
        stop.cancel();
        // Supervisors may signal a process and its group at once; that is one wish, not two.
        tokio::time::sleep(SAME_WISH).await;
        while term.recv().now_or_never().is_some() || int.recv().now_or_never().is_some() {}
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        tracing::warn!("second signal: leaving without a clean stop; the next start recovers");
        std::process::exit(IMPATIENT);
    });
    Ok(token)
}
