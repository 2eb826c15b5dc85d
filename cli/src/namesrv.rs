//! `orbitmq namesrv`: key-value settings that name servers keep.

use clap::Subcommand;
use orbitmq_common::protocol::body::kv::KvTable;
use orbitmq_common::protocol::code::request;
use orbitmq_common::protocol::header::nameserver::{KvListRequest, KvRequest, KvResponse, PutKvRequest};
use orbitmq_common::protocol::relaxed;
use serde::Serialize;

use crate::failure::Failure;
use crate::report::{Report, Table};
use crate::session::{Question, Session};

/// What can be asked of name servers.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Key-value settings. Changes go to every name server of the list.
    #[command(subcommand)]
    Kv(Kv),
}

/// Key-value settings.
#[derive(Debug, Subcommand)]
pub enum Kv {
    /// List a name space.
    List {
        /// The name space, such as ORDER_TOPIC_CONFIG.
        namespace: String,
    },
    /// Show the value of a key.
    Get {
        /// The name space.
        namespace: String,
        /// The key.
        key: String,
    },
    /// Set the value of a key.
    Put {
        /// The name space.
        namespace: String,
        /// The key.
        key: String,
        /// The value.
        value: String,
    },
    /// Remove a key.
    Delete {
        /// The name space.
        namespace: String,
        /// The key.
        key: String,
    },
}

#[derive(Debug, Serialize)]
struct Entry {
    namespace: String,
    key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

/// Runs one command.
pub async fn run(Command::Kv(kv): Command, session: Session) -> Result<Report, Failure> {
    match kv {
        Kv::List { namespace } => list(&namespace, &session).await,
        Kv::Get { namespace, key } => {
            let fields = KvRequest { namespace: namespace.as_str().into(), key: key.as_str().into() };
            let (answer, address) = session.nameserver(&Question::new(request::GET_KV_CONFIG, &fields)).await?;
            let found: KvResponse<'_> = answer.fields().map_err(|error| Failure::answer(address, error))?;
            let value = found.value.into_owned();
            Report::new(&Entry { namespace, key, value: Some(value.clone()) }, value)
        }
        Kv::Put { namespace, key, value } => {
            let fields = PutKvRequest {
                namespace: namespace.as_str().into(),
                key: key.as_str().into(),
                value: value.as_str().into(),
            };
            session.all_nameservers(&Question::new(request::PUT_KV_CONFIG, &fields)).await?;
            let text = format!("{namespace}/{key} is '{value}'");
            Report::new(&Entry { namespace, key, value: Some(value) }, text)
        }
        Kv::Delete { namespace, key } => {
            let fields = KvRequest { namespace: namespace.as_str().into(), key: key.as_str().into() };
            session.all_nameservers(&Question::new(request::DELETE_KV_CONFIG, &fields)).await?;
            let text = format!("{namespace}/{key} is removed");
            Report::new(&Entry { namespace, key, value: None }, text)
        }
    }
}

async fn list(namespace: &str, session: &Session) -> Result<Report, Failure> {
    let fields = KvListRequest { namespace: namespace.into() };
    let (answer, address) = session.nameserver(&Question::new(request::GET_KVLIST_BY_NAMESPACE, &fields)).await?;
    let found: KvTable = relaxed::parse(&answer.body).map_err(|error| Failure::answer(address, error))?;
    let mut table = Table::new(&["KEY", "VALUE"]);
    let mut entries = Vec::new();
    for (key, value) in found.table {
        table.row([key.clone(), value.clone()]);
        entries.push(Entry { namespace: namespace.to_owned(), key, value: Some(value) });
    }
    Report::new(&entries, table.text())
}
