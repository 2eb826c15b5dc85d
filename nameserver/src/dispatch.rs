//! Leads each request to its handler.

use std::sync::Arc;

use orbitmq_common::net::client::answer_hello;
use orbitmq_common::net::connection::{Handler, Outcome};
use orbitmq_common::net::peer::Peer;
use orbitmq_common::protocol::code::{request as kind, response};
use orbitmq_common::protocol::frame::Frame;

use crate::handler::{Parts, Refusal, cluster, config, controller, heartbeat, kv, permission, register, route, topics};

/// The name server as connections see it.
#[derive(Debug)]
pub struct Dispatch {
    parts: Parts,
}

/// A handler that waits for the disk.
type Slow = fn(&Parts, &Frame) -> Result<Frame, Refusal>;

impl Dispatch {
    /// Leads requests to handlers that work on these parts.
    pub fn new(parts: Parts) -> Self {
        Self { parts }
    }

    fn answer(&self, request: &Frame, peer: &Peer) -> Result<Frame, Refusal> {
        let (parts, asker) = (&self.parts, peer.remote().ip());
        match request.code {
            kind::GET_ROUTEINFO_BY_TOPIC => route::route(parts, request, asker),
            kind::BROKER_HEARTBEAT => heartbeat::heartbeat(parts, request),
            kind::REGISTER_BROKER => register::register(parts, request, peer),
            kind::UNREGISTER_BROKER => register::unregister(parts, request),
            kind::QUERY_DATA_VERSION => heartbeat::query_data_version(parts, request),
            kind::GET_BROKER_CLUSTER_INFO => Ok(cluster::cluster_info(parts, request, asker)),
            kind::GET_BROKER_MEMBER_GROUP => cluster::member_group(parts, request, asker),
            kind::GET_SYSTEM_TOPIC_LIST_FROM_NS => Ok(cluster::system_topics(parts, request, asker)),
            kind::WIPE_WRITE_PERM_OF_BROKER => permission::wipe(parts, request),
            kind::ADD_WRITE_PERM_OF_BROKER => permission::add(parts, request),
            kind::GET_ALL_TOPIC_LIST_FROM_NAMESERVER => topics::all(parts, request),
            kind::GET_TOPICS_BY_CLUSTER => topics::of_cluster(parts, request),
            kind::GET_UNIT_TOPIC_LIST => topics::unit(parts, request),
            kind::GET_HAS_UNIT_SUB_TOPIC_LIST => topics::unit_subscribed(parts, request),
            kind::GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST => topics::unit_subscribed_from_outside(parts, request),
            kind::DELETE_TOPIC_IN_NAMESRV => topics::delete(parts, request),
            kind::REGISTER_TOPIC_IN_NAMESRV => topics::register(parts, request),
            kind::GET_KV_CONFIG => kv::get(parts, request),
            kind::GET_KVLIST_BY_NAMESPACE => kv::list(parts, request),
            kind::GET_NAMESRV_CONFIG => Ok(config::get(parts, request)),
            kind::HELLO => Ok(answer_hello(request)),
            code => Err(unsupported(code)),
        }
    }

    /// Leads a request that ends on the disk to a thread that may wait for it.
    fn answer_later(&self, request: Frame, handler: Slow) -> Outcome {
        let parts = self.parts.clone();
        Outcome::later(async move {
            let stub = request.answer(response::SYSTEM_ERROR);
            let done = tokio::task::spawn_blocking(move || {
                handler(&parts, &request).unwrap_or_else(|refusal| request.refuse(refusal.code, refusal.remark))
            });
            done.await.unwrap_or_else(|_| stub.with_remark("the name server is stopping: ask another one"))
        })
    }
}

impl Handler for Dispatch {
    fn call(&self, peer: &Arc<Peer>, request: Frame) -> Outcome {
        match request.code {
            kind::PUT_KV_CONFIG => self.answer_later(request, kv::put),
            kind::DELETE_KV_CONFIG => self.answer_later(request, kv::delete),
            kind::UPDATE_NAMESRV_CONFIG => self.answer_later(request, config::update),
            code if controller::answers(code) => controller::call(self.parts.controller.as_ref(), request),
            _ => {
                let answer = self.answer(&request, peer);
                Outcome::Answer(answer.unwrap_or_else(|refusal| request.refuse(refusal.code, refusal.remark)))
            }
        }
    }

    fn closed(&self, peer: &Arc<Peer>) {
        for addr in self.parts.routes.disconnect(peer.id()) {
            tracing::warn!(%addr, "its connection closed: the broker is out of the routes");
        }
    }
}

fn unsupported(code: i32) -> Refusal {
    let name = kind::name(code).map(|name| format!(" ({name})")).unwrap_or_default();
    let remark = format!(
        "request code {code}{name} is not supported by a name server: send it to a broker, or use a newer name server"
    );
    Refusal::new(response::REQUEST_CODE_NOT_SUPPORTED, remark)
}
