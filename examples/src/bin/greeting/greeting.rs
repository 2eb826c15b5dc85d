//! The interface of the greeting service: what provider and consumer share.

use std::future::Future;
use std::time::Duration;

use orbitmq_calls::{Call, Caller, Fault, Method};
use serde::{Deserialize, Serialize};

/// Code of the fault for a greeting to nobody.
pub const NOBODY: i32 = 1;
const SAY_HELLO: Method<Hello, Greeting> = Method::new("GreetingService", "sayHello");

/// Whom to greet.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    pub name: String,
    /// Time that the provider takes for it, ms.
    pub takes_ms: u64,
}

/// A greeting.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Greeting {
    pub text: String,
    /// The node that greets.
    pub from: String,
}

/// What a provider implements.
pub trait GreetingService: Send + Sync + 'static {
    fn say_hello(&self, hello: Hello) -> impl Future<Output = Result<Greeting, Fault>> + Send;
}

/// The service as a consumer sees it.
#[derive(Debug, Clone)]
pub struct GreetingReference {
    caller: Caller,
}

impl GreetingReference {
    /// The service, called by `caller`.
    pub fn new(caller: Caller) -> Self {
        Self { caller }
    }

    /// A call that is awaited, or set up further first.
    pub fn say_hello(&self, name: &str) -> Call<Greeting> {
        self.say_hello_slowly(name, Duration::ZERO)
    }

    /// The same, with a provider that takes its time.
    pub fn say_hello_slowly(&self, name: &str, takes: Duration) -> Call<Greeting> {
        let takes_ms = u64::try_from(takes.as_millis()).unwrap_or(u64::MAX);
        self.caller.call(SAY_HELLO, &Hello { name: name.to_owned(), takes_ms })
    }

    /// Nodes that provide the service, once there are so many.
    pub async fn wait_for_nodes(&self, count: usize, within: Duration) -> bool {
        let all = async {
            while self.caller.nodes(SAY_HELLO.service()).await.is_ok_and(|nodes| nodes.len() != count) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(within, all).await.is_ok()
    }
}

/// What is offered in the name of the service.
pub fn method() -> Method<Hello, Greeting> {
    SAY_HELLO
}
