//! Web service and mailer are killed (SIGKILL) again and again while people register: every user gets a mail.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_examples::cluster::Embedded;
use orbitmq_examples::http;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

const VISITORS: usize = 4;
const PEOPLE_PER_KILL: usize = 12;
const KILLS: usize = 8;
const BOUND: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(50);

/// A part of the application as a process, and the address in its first line.
async fn start(arguments: &[&str]) -> (Child, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_registration"))
        .args(arguments)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = timeout(BOUND, lines.next_line()).await.unwrap().unwrap().expect("the process ended at its start");
    (child, line.split(' ').next_back().unwrap().trim_start_matches("http://").trim_end_matches('/').to_owned())
}

async fn kill(child: &mut Child) {
    child.start_kill().unwrap();
    child.wait().await.unwrap();
}

/// Registers with one address until the web service says that it is saved.
async fn register(page: watch::Receiver<SocketAddr>, email: String, deadline: Instant) {
    let body = json!({ "name": "Somebody", "email": email });
    while Instant::now() < deadline {
        let address = *page.borrow();
        match http::post(address, "/api/registrations", &body, Duration::from_secs(10)).await {
            // 409: an earlier attempt was saved before its process died.
            Ok((201 | 202 | 409, _)) => return,
            Ok((503, _)) => {}
            Ok((status, answer)) => panic!("{status} {answer}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
    panic!("{email} could not be registered");
}

fn rows<T: rusqlite::types::FromSql>(path: &Path, sql: &str) -> Vec<T> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut statement = db.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_user_has_a_mail_whoever_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap();
    let cluster = Embedded::start(&dir.path().join("cluster"), &["registration", "registration-mailed"]).await.unwrap();
    let nameserver = cluster.nameserver().to_string();
    let (_mailbox, smtp) = start(&["mailbox", "--listen", "127.0.0.1:0", "--data", data]).await;
    let mail = ["mail", "--log", "error", "--data", data, "--nameserver", &nameserver, "--smtp", &smtp];
    let serve = ["serve", "--log", "error", "--data", data, "--nameserver", &nameserver, "--listen", "127.0.0.1:0"];
    let (mut mailer, _) = start(&mail).await;
    let (mut web, address) = start(&serve).await;
    let (page, at) = watch::channel(address.parse().unwrap());

    let deadline = Instant::now() + BOUND;
    let (asked, mut count) = watch::channel(0_usize);
    let asked = Arc::new(asked);
    let visitors: Vec<_> = (0..VISITORS)
        .map(|visitor| {
            let (asked, at) = (Arc::clone(&asked), at.clone());
            tokio::spawn(async move {
                for number in 0..KILLS * PEOPLE_PER_KILL / VISITORS {
                    asked.send_modify(|count| *count += 1);
                    register(at.clone(), format!("person.{visitor}.{number}@example.org"), deadline).await;
                }
            })
        })
        .collect();

    let (mut web_kills, mut mailer_kills) = (0, 0);
    for round in 0..KILLS {
        let moment = round * PEOPLE_PER_KILL + fastrand::usize(1..PEOPLE_PER_KILL);
        timeout(BOUND, count.wait_for(|count| *count >= moment)).await.unwrap().unwrap();
        if round % 2 == 0 {
            kill(&mut mailer).await;
            (mailer, _) = start(&mail).await;
            mailer_kills += 1;
        } else {
            kill(&mut web).await;
            let (again, address) = start(&serve).await;
            web = again;
            page.send_replace(address.parse().unwrap());
            web_kills += 1;
        }
    }
    for visitor in visitors {
        visitor.await.unwrap();
    }

    let file = |name: &str| dir.path().join(name);
    let owed: BTreeSet<String> = rows(&file("users.db"), "SELECT event FROM users").into_iter().collect();
    assert_eq!(owed.len(), KILLS * PEOPLE_PER_KILL);
    let mut mails = BTreeMap::new();
    while Instant::now() < deadline {
        mails.clear();
        for id in rows::<String>(&file("mailbox.db"), "SELECT message_id FROM mails") {
            let event = id.trim_start_matches('<').trim_end_matches("@registration.orbitmq>").to_owned();
            *mails.entry(event).or_insert(0) += 1;
        }
        let open = rows::<i64>(&file("users.db"), "SELECT count(*) FROM users WHERE mailed_us IS NULL");
        if mails.len() == owed.len() && open == [0] {
            break;
        }
        tokio::time::sleep(POLL).await;
    }
    let without: Vec<_> = owed.iter().filter(|event| !mails.contains_key(*event)).collect();
    assert!(without.is_empty(), "{} of {} without a mail: {without:?}", without.len(), owed.len());
    assert!(mails.keys().all(|event| owed.contains(event)), "a mail for nobody");
    assert_eq!(rows::<i64>(&file("users.db"), "SELECT count(*) FROM users WHERE mailed_us IS NULL"), [0]);

    // A second mail is explained only by a mailer that died after an attempt without a record of it.
    let tried_again: BTreeSet<String> =
        rows(&file("mailer.db"), "SELECT event FROM mails WHERE attempts > 1").into_iter().collect();
    let twice: Vec<_> = mails.iter().filter(|(_, copies)| **copies > 1).map(|(event, _)| event).collect();
    assert!(twice.iter().all(|event| tried_again.contains(*event)), "a second mail without a reason");
    println!(
        "{} users, {web_kills} web and {mailer_kills} mailer kills: every user has a mail, {} attempted again, {} have a second",
        owed.len(),
        tried_again.len(),
        twice.len()
    );
    kill(&mut mailer).await;
    kill(&mut web).await;
    cluster.stop().await;
}
