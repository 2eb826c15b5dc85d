//! `orbitmq migrate back`: the way back, with the settings that an Apache broker needs for it.

use serde::Serialize;

use super::Which;
use super::pair::{number, value};
use crate::failure::Failure;
use crate::report::Report;
use crate::session::Session;

#[derive(Serialize)]
struct Back<'a> {
    settings: String,
    log_end: u64,
    broker: &'a str,
}

/// Tells the way back from the broker `--to`.
pub async fn run(which: &Which, session: &Session) -> Result<Report, Failure> {
    let ours = which.to.as_str();
    let settings = session.settings(ours).await?;
    let get = |key| value(&settings, key, ours);
    let end = number(&session.figures(ours).await?, "commitLogMaxOffset", ours)?;
    let conf = format!(
        "brokerClusterName={}\nbrokerName={}\nbrokerId=1\nbrokerRole=SLAVE\nnamesrvAddr={}\nmappedFileSizeCommitLog={}\n",
        get("brokerClusterName")?,
        get("brokerName")?,
        session.nameservers().join(";"),
        get("mappedFileSizeCommitLog")?,
    );
    let text = format!(
        "1. Start an Apache RocketMQ broker on an empty directory with these lines in its broker.conf:\n\n{conf}\n\
         2. Wait until its commitLogMaxOffset (orbitmq broker figures ITS_ADDRESS) is that of {ours}, {end} now, and two minutes\n   \
         more: it copies topics, groups and offsets once a minute.\n\
         3. Stop the producers, or let them fail; wait until the two are equal again.\n\
         4. Stop {ours}, then the Apache broker.\n\
         5. Start the Apache broker with brokerId=0 and brokerRole=ASYNC_MASTER on the same directory.\n\n\
         What groups commit in the last minute before step 4 may come to them once more. See docs/migration.md."
    );
    Report::new(&Back { settings: conf, log_end: end, broker: ours }, text)
}
