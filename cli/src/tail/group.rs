//! Tailing as a member of a group.

use std::future::Future;
use std::time::{Duration, UNIX_EPOCH};

use orbitmq_consumer::{Consumer, Fetch, StartFrom};

use crate::failure::Failure;
use crate::report::Report;
use crate::session::Session;
use crate::tail::{Arguments, Printer, Start, Way};

/// Prints and acknowledges until the end, then stores the offsets.
pub async fn run(
    arguments: Arguments,
    session: &Session,
    mut printer: Printer,
    end: impl Future<Output = ()>,
) -> Result<Report, Failure> {
    let start = match arguments.from {
        Start::First => StartFrom::First,
        Start::Last => StartFrom::Last,
        Start::Time(ms) => StartFrom::Time(UNIX_EPOCH + Duration::from_millis(u64::try_from(ms).unwrap_or(0))),
    };
    // Asked first: a consumer would wait for a topic that is not there.
    session.route(&arguments.topic).await?;
    let builder = Consumer::builder().nameservers(session.nameservers()).group(arguments.group.unwrap_or_default());
    let fetch = match arguments.fetch {
        Way::Pull => Fetch::Pull,
        Way::Pop => Fetch::Pop,
        Way::ByGroup => Fetch::ByGroup,
    };
    let builder = if arguments.trace { builder.trace() } else { builder };
    let consumer = builder.subscribe(arguments.topic, arguments.tags).start_from(start).fetch(fetch).build().await?;
    tokio::pin!(end);
    let ended = loop {
        let delivery = tokio::select! {
            () = &mut end => break Ok(()),
            delivery = consumer.next() => delivery,
        };
        let Some(delivery) = delivery else { break Ok(()) };
        match printer.print(delivery.message()) {
            Ok(more) => {
                delivery.ack();
                if !more {
                    break Ok(());
                }
            }
            Err(failure) => break Err(failure),
        }
    };
    consumer.close().await;
    ended.map(|()| Report::nothing())
}
