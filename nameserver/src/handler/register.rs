//! REGISTER_BROKER (103): a broker tells all about itself. UNREGISTER_BROKER (104): it says goodbye.

use std::time::{Duration, Instant};

use orbitmq_common::message::record::checksum;
use orbitmq_common::net::network::Addresses;
use orbitmq_common::net::peer::Peer;
use orbitmq_common::protocol::body::kv::KvTable;
use orbitmq_common::protocol::body::register::RegisterBody;
use orbitmq_common::protocol::code::response;
use orbitmq_common::protocol::frame::Frame;
use orbitmq_common::protocol::header::nameserver::{BrokerRequest, RegisterBrokerRequest, RegisterBrokerResponse};

use crate::handler::{Parts, Refusal, identity};
use crate::routes::registration::Registration;
use crate::settings::ORDER_TOPICS;

/// First byte of a zlib stream: some brokers deflate the body and do not say so.
const ZLIB: u8 = 0x78;

/// Answers 103.
pub fn register(parts: &Parts, request: &Frame, peer: &Peer) -> Result<Frame, Refusal> {
    let header: RegisterBrokerRequest<'_> = request.fields()?;
    let who = identity(&header.cluster_name, &header.broker_name, &header.broker_addr, header.broker_id)?;
    let lease = lease(header.heartbeat_timeout_millis, "heartbeatTimeoutMillis")?;
    let networks = header.network_addrs.as_deref().unwrap_or_default().parse::<Addresses>();
    let networks = networks.map_err(|error| Refusal::invalid(format!("networkAddrs: {error}")))?;
    check_body(request, header.body_crc32)?;
    let compressed = header.compressed || request.body.first() == Some(&ZLIB);
    let body = RegisterBody::decode(&request.body, compressed)?;

    let switches = parts.options.current();
    let registration = Registration {
        who,
        ha_addr: &header.ha_server_addr,
        zone: header.zone_name.as_deref(),
        lease,
        acting: header.enable_acting_master,
        topics: &body.topic_config_serialize_wrapper,
        forget_unnamed: switches.forget_unnamed_topics,
        connection: peer.id(),
        from: peer.remote().ip(),
        networks: &networks,
    };
    let registered = parts.routes.register(&registration, Instant::now()).map_err(|error| {
        tracing::warn!(broker = who.name, id = who.id, addr = who.addr, %error, "a registration is refused");
        Refusal::new(response::SYSTEM_ERROR, error.to_string())
    })?;
    tracing::debug!(
        broker = who.name,
        id = who.id,
        addr = who.addr,
        topics = registration.topics.topic_config_table.len(),
        "registered"
    );

    let answer = request.answer(response::SUCCESS).with_fields(&RegisterBrokerResponse {
        ha_server_addr: registered.ha_addr.map(Into::into),
        master_addr: registered.master_addr.map(Into::into),
    });
    let order_topics = switches.return_order_topics.then(|| parts.settings.list(ORDER_TOPICS)).flatten();
    Ok(match order_topics {
        Some(table) => answer.with_json(&KvTable { table }),
        None => answer,
    })
}

/// Answers 104.
pub fn unregister(parts: &Parts, request: &Frame) -> Result<Frame, Refusal> {
    let header: BrokerRequest<'_> = request.fields()?;
    let known = parts.routes.unregister(&header.broker_name, &header.broker_addr);
    tracing::info!(broker = %header.broker_name, addr = %header.broker_addr, known, "unregistered");
    Ok(request.answer(response::SUCCESS))
}

fn check_body(request: &Frame, expected: i32) -> Result<(), Refusal> {
    let computed = checksum(&request.body);
    if expected == 0 || u32::try_from(expected) == Ok(computed) {
        return Ok(());
    }
    let remark = format!("crc32 not match: the header says {expected}, the body gives {computed}; send it again");
    Err(Refusal::new(response::SYSTEM_ERROR, remark))
}

/// A lease as headers carry it.
pub fn lease(millis: Option<i64>, field: &str) -> Result<Option<Duration>, Refusal> {
    match millis.map(u64::try_from) {
        None => Ok(None),
        Some(Ok(millis)) if millis > 0 => Ok(Some(Duration::from_millis(millis))),
        Some(_) => Err(Refusal::invalid(format!("{field} must be above 0"))),
    }
}
