//! The consumer: calls the greeting service in each way, and tells what came of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use orbitmq_calls::{CallError, Choice, Policy};
use tokio::sync::oneshot;

use crate::Failure;
use crate::greeting::{GreetingReference, NOBODY};

/// Calls per choice.
const CALLS: usize = 12;
const ELSEWHERE: Policy = Policy::RetryElsewhere { attempts: 3 };

/// Awaits, holds, calls back, sends; true: all came out as expected.
pub async fn ways(greeting: &GreetingReference) -> Result<bool, Failure> {
    let began = Instant::now();
    let hello = greeting.say_hello("world").within(Duration::from_secs(5)).await?;
    println!("awaited     {} ({:.1} ms)", hello.text, began.elapsed().as_secs_f64() * 1e3);

    let (first, second) = (greeting.say_hello("Ada").start(), greeting.say_hello("Grace").start());
    println!("held        {}; {}", first.await?.text, second.await?.text);

    let (done, called_back) = oneshot::channel();
    greeting.say_hello("Barbara").then(move |result| drop(done.send(result)));
    println!("called back {}", called_back.await??.text);

    println!("oneway      sent to {}", greeting.say_hello("nobody in particular").oneway().await?);

    let answers = greeting.say_hello("all").broadcast().await?;
    let nodes: Vec<&str> = answers.iter().filter(|one| one.result.is_ok()).map(|one| one.node.as_str()).collect();
    println!("broadcast   {} answered: {}", nodes.len(), nodes.join(", "));

    let fault = greeting.say_hello("").await.err();
    let is_fault = fault.as_ref().and_then(CallError::fault).is_some_and(|fault| fault.code == NOBODY);
    println!("fault       {}", fault.map_or_else(|| "none came".to_owned(), |fault| fault.to_string()));

    let late = greeting.say_hello_slowly("you", Duration::from_secs(5)).within(Duration::from_millis(100)).await;
    let is_late = late.is_err();
    println!("deadline    {}", late.err().map_or_else(|| "none came".to_owned(), |error| error.to_string()));
    Ok(nodes.len() == answers.len() && is_fault && is_late)
}

/// Shows which nodes each choice takes.
pub async fn choices(greeting: &GreetingReference) -> Result<bool, Failure> {
    println!("\n{CALLS} calls by each choice:");
    let key = |number: usize| Choice::ConsistentHash(format!("customer-{}", number % 2));
    let rows: [(&str, &dyn Fn(usize) -> Choice); 5] = [
        ("random", &|_| Choice::Random),
        ("round robin", &|_| Choice::RoundRobin),
        ("least active", &|_| Choice::LeastActive),
        ("consistent hash, 2 keys", &key),
        ("fixed: greeter-1", &|_| Choice::Fixed("greeter-1".to_owned())),
    ];
    let mut as_expected = true;
    for (name, choice) in rows {
        let calls = (0..CALLS).map(|number| greeting.say_hello("you").choice(choice(number)).start());
        let mut nodes: BTreeMap<String, usize> = BTreeMap::new();
        for hello in try_join_all(calls.collect::<Vec<_>>()).await? {
            *nodes.entry(hello.from).or_default() += 1;
        }
        as_expected &= match name {
            "round robin" => nodes.values().all(|calls| calls * nodes.len() == CALLS),
            "consistent hash, 2 keys" => nodes.len() <= 2,
            "fixed: greeter-1" => nodes.len() == 1,
            _ => true,
        };
        let nodes: Vec<String> = nodes.into_iter().map(|(node, calls)| format!("{node} {calls}")).collect();
        println!("{name:<24} {}", nodes.join(", "));
    }
    Ok(as_expected)
}

/// Calls all nodes, has one of them killed meanwhile, and shows that the call at that one goes elsewhere.
pub async fn failover(greeting: &GreetingReference, kill: impl AsyncFnOnce()) -> Result<bool, Failure> {
    let takes = Duration::from_millis(500);
    let slowly = || greeting.say_hello_slowly("you", takes).within(Duration::from_secs(30)).policy(ELSEWHERE).start();
    let calls = [slowly(), slowly(), slowly()];
    let fails = greeting.say_hello_slowly("you", takes).within(Duration::from_secs(30));
    let fails = fails.choice(Choice::Fixed("greeter-2".to_owned())).start();
    tokio::time::sleep(takes / 3).await;
    let began = Instant::now();
    kill().await;
    let hellos = try_join_all(calls).await?;
    let error = fails.await.err();
    let nodes: Vec<&str> = hellos.iter().map(|hello| hello.from.as_str()).collect();
    println!("\ngreeter-2 is killed with a call in hand:");
    println!("retry elsewhere  answered by {} after {:.1} s", nodes.join(", "), began.elapsed().as_secs_f64());
    println!("fail fast        {}", error.as_ref().map_or_else(|| "answered".to_owned(), CallError::to_string));
    // On a slow machine it may have been done before.
    Ok(nodes.len() == 3)
}

/// Calls as often as a limit allows.
pub async fn limited(greeting: &GreetingReference) -> Result<bool, Failure> {
    let began = Instant::now();
    for _ in 0..10 {
        greeting.say_hello("you").await?;
    }
    let took = began.elapsed();
    println!("\n10 calls of a caller that may do 10 a second, 5 at once after a rest: {:.1} s", took.as_secs_f64());
    Ok(took >= Duration::from_millis(450))
}
