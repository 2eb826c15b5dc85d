//! The whole of it in one go: a cluster, three providers as processes, a consumer.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use orbitmq_calls::{Caller, Limit, WhenOver};
use orbitmq_examples::cluster::Embedded;
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::cli::Cli;
use crate::greeting::GreetingReference;
use crate::{Failure, consume};

const NODES: [&str; 3] = ["greeter-1", "greeter-2", "greeter-3"];
/// How long the providers may take to be there.
const BOUND: Duration = Duration::from_secs(30);
/// How long one may take to end in peace.
const STOP_BOUND: Duration = Duration::from_secs(15);

/// Runs with the cluster that is named, or one of its own.
pub async fn run(cli: Cli, stop: CancellationToken) -> Result<bool, Failure> {
    if !cli.nameserver.is_empty() {
        return demonstrate(&cli, &cli.nameserver.clone(), stop).await;
    }
    let data = tempfile::Builder::new().prefix("greeting-").tempdir()?;
    let cluster = Embedded::start(data.path(), &[]).await?;
    println!("cluster: embedded, name server {}, broker {}", cluster.nameserver(), cluster.broker());
    let result = demonstrate(&cli, &[cluster.nameserver().to_string()], stop).await;
    cluster.stop().await;
    result
}

async fn demonstrate(cli: &Cli, nameservers: &[String], stop: CancellationToken) -> Result<bool, Failure> {
    let mut children = Vec::new();
    for node in NODES {
        children.push(provider(nameservers, node, &cli.log)?);
    }
    let result = tokio::select! {
        result = consume(cli, nameservers, &mut children) => result,
        () = stop.cancelled() => Ok(true),
    };
    for child in &mut children {
        end(child).await;
    }
    result
}

async fn consume(cli: &Cli, nameservers: &[String], children: &mut [Child]) -> Result<bool, Failure> {
    let builder = || Caller::builder().nameservers(nameservers).within(Duration::from_secs(10));
    let caller = builder().name("visitor").build().await?;
    let greeting = GreetingReference::new(caller.clone());
    if !greeting.wait_for_nodes(NODES.len(), BOUND).await {
        return Err(format!("the providers are not there after {BOUND:?}").into());
    }
    println!("providers: {}\n", NODES.join(", "));
    let mut as_expected = consume::ways(&greeting).await?;
    as_expected &= consume::choices(&greeting).await?;
    let kill = async || {
        if let Some(child) = children.get_mut(1)
            && let Err(error) = child.kill().await
        {
            eprintln!("greeter-2 cannot be killed: {error}");
        }
    };
    as_expected &= consume::failover(&greeting, kill).await?;
    let limit = Limit::per_second(10).burst(5);
    let slow = builder().name("modest-visitor").limit(limit, WhenOver::Wait).build().await?;
    as_expected &= consume::limited(&GreetingReference::new(slow.clone())).await?;
    slow.close().await;
    if !cli.once {
        go_on(&greeting).await;
    }
    caller.close().await;
    println!("\n{}", if as_expected { "All as expected." } else { "Something came out otherwise than expected." });
    Ok(as_expected)
}

/// Calls each second, until it is dropped.
async fn go_on(greeting: &GreetingReference) {
    loop {
        match greeting.say_hello("world").await {
            Ok(hello) => println!("{}", hello.text),
            Err(error) => println!("{error}"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// This very program, asked to provide.
fn provider(nameservers: &[String], node: &str, log: &str) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["provide", "--with-parent", "--nameserver", &nameservers.join(","), "--node", node, "--log", log]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).kill_on_drop(true);
    command.process_group(0); // Ctrl-C is for the parent, which ends this one when it is time
    command.spawn()
}

/// Closes the child's standard input, at which it ends; kills it if it does not.
async fn end(child: &mut Child) {
    drop(child.stdin.take());
    if tokio::time::timeout(STOP_BOUND, child.wait()).await.is_err()
        && let Err(error) = child.kill().await
    {
        eprintln!("a provider cannot be killed: {error}");
    }
}
