//! The provider: implements the greeting service and offers it at one node until it is stopped.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_calls::{BuildError, Counts, Fault, Provider};
use tokio_util::sync::CancellationToken;

use crate::cli::ProvideArgs;
use crate::greeting::{Greeting, GreetingService, Hello, NOBODY, method};

/// Greets in the name of its node.
struct Greeter {
    node: String,
}

impl GreetingService for Greeter {
    async fn say_hello(&self, Hello { name, takes_ms }: Hello) -> Result<Greeting, Fault> {
        if name.is_empty() {
            return Err(Fault::new(NOBODY, "there is nobody to greet: give a name"));
        }
        tokio::time::sleep(Duration::from_millis(takes_ms)).await;
        Ok(Greeting { text: format!("Hello {name}, this is {}", self.node), from: self.node.clone() })
    }
}

/// Runs until `stop`, then ends what is in hand.
pub async fn run(args: ProvideArgs, stop: CancellationToken) -> Result<(), BuildError> {
    let greeter = Arc::new(Greeter { node: args.node.clone() });
    let provider = Provider::builder()
        .nameservers(&args.nameserver)
        .node(args.node)
        .offer(method(), move |hello, _| {
            let greeter = Arc::clone(&greeter);
            async move { greeter.say_hello(hello).await }
        })
        .build()
        .await?;
    println!("providing as {}", provider.node());
    if args.with_parent {
        stop_with_parent(stop.clone());
    }
    stop.cancelled().await;
    provider.close().await;
    let Counts { done, overdue, .. } = provider.counts();
    println!("{}: {done} calls done, {overdue} came too late", provider.node());
    Ok(())
}

/// The parent holds the other end of standard input; the system closes it however the parent dies.
fn stop_with_parent(stop: CancellationToken) {
    std::thread::spawn(move || {
        let mut byte = [0];
        while matches!(std::io::stdin().read(&mut byte), Ok(1..)) {}
        stop.cancel();
    });
}
