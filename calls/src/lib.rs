//! OrbitMQ's calls: a service is offered by nodes, found through the name servers, and called over the queue.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use orbitmq_calls::{Caller, Fault, Method, Provider};
//!
//! // The interface, which both sides share.
//! const SAY_HELLO: Method<String, String> = Method::new("greeting", "sayHello");
//!
//! // A provider; as many as you like, each a node of its own name.
//! let provider = Provider::builder()
//!     .nameservers(["127.0.0.1:9876"])
//!     .node("greeter-1")
//!     .offer(SAY_HELLO, |name: String, _| async move {
//!         if name.is_empty() { Err(Fault::new(1, "nobody to greet")) } else { Ok(format!("Hello {name}!")) }
//!     })
//!     .build()
//!     .await?;
//!
//! // A caller.
//! let caller = Caller::builder().nameservers(["127.0.0.1:9876"]).name("shop").build().await?;
//! println!("{}", caller.call(SAY_HELLO, &"world".to_owned()).await?);
//! # provider.close().await;
//! # Ok(())
//! # }
//! ```
//!
//! A [`Call`] is set up first: its deadline ([`Call::within`]), how its node is chosen ([`Choice`]), what happens when that
//! gives no result ([`Policy`]). How it ends says how it is done: `.await` waits for the result, [`Call::start`] hands out a
//! future of a call that is under way, [`Call::then`] calls a function, [`Call::oneway`] wants no answer, [`Call::broadcast`]
//! calls all nodes.
//!
//! ```no_run
//! # use orbitmq_calls::{Caller, CallError, Choice, Method, Policy};
//! # const SAY_HELLO: Method<String, String> = Method::new("greeting", "sayHello");
//! # async fn example(caller: Caller, name: String) -> Result<(), CallError> {
//! use std::time::Duration;
//!
//! let hello = caller
//!     .call(SAY_HELLO, &name)
//!     .within(Duration::from_millis(500))
//!     .choice(Choice::LeastActive)
//!     .policy(Policy::RetryElsewhere { attempts: 3 });
//! println!("{}", hello.await?);
//!
//! let pending = caller.call(SAY_HELLO, &name).choice(Choice::ConsistentHash(name.clone())).start();
//! caller.call(SAY_HELLO, &name).then(|result| println!("{result:?}"));
//! println!("{}", pending.await?);
//! for answer in caller.call(SAY_HELLO, &name).broadcast().await? {
//!     println!("{}: {:?}", answer.node, answer.result);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! **How often a method runs.** With [`Policy::FailFast`] at most once: a request that its broker stored twice is done once, and
//! one whose node has ended is never done later, by that node or another. With [`Policy::RetryElsewhere`] up to as often as
//! nodes were called. [`CallError::may_have_run`] tells of a failed call whether it may have run.
//!
//! **Deadlines** travel as a time of day, so clocks must agree better than deadlines are long. A node does nothing after the
//! deadline, and says so to whoever still listens.
#![deny(missing_docs)]

pub mod call;
pub mod caller;
pub mod choose;
mod directory;
pub mod error;
pub mod limit;
mod node;
pub mod provider;
mod seen;
pub mod serve;
pub mod service;
mod topic;
mod tries;
mod wire;

pub use call::{Answered, Call, Pending, Policy};
pub use caller::{Caller, CallerBuilder};
pub use choose::Choice;
pub use error::{BuildError, CallError, Fault, Refusal, Tried};
pub use limit::{Limit, WhenOver};
pub use provider::{Provider, ProviderBuilder};
pub use serve::{Counts, Incoming};
pub use service::{Method, NameError};
