//! The web service over real sockets, with a broker that is there or away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use orbitmq_examples::http::{get, post};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::{MAX_BODY, Web, serve};
use crate::relay::Relay;
use crate::users::{Users, Waiting};

const LIMIT: Duration = Duration::from_secs(20);

struct Server {
    address: SocketAddr,
    web: Arc<Web>,
    _dir: TempDir,
}

/// A web service; its broker answers if `broker` says so.
async fn server(broker: bool) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let users = Users::open(&dir.path().join("users.db")).unwrap();
    let relay = Relay::default();
    let publish = move |event: Waiting| async move { if broker { Ok(event.event) } else { Err("away") } };
    let (running, outbox) = (relay.clone(), users.clone());
    tokio::spawn(async move { running.run(outbox, publish, CancellationToken::new()).await });
    let web = Arc::new(Web::new(users, relay, "no cluster".into()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, Arc::clone(&web), CancellationToken::new()));
    Server { address, web, _dir: dir }
}

impl Server {
    async fn register(&self, name: &str, email: &str) -> (u16, Value) {
        post(self.address, "/api/registrations", &json!({ "name": name, "email": email }), LIMIT).await.unwrap()
    }

    /// Sends bytes as they are and returns the first line of the answer.
    async fn raw(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        _ = stream.read_to_end(&mut answer).await; // a reset after the answer is an end too
        String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
    }
}

#[tokio::test]
async fn registers_and_shows_the_steps() {
    let server = server(true).await;
    let (status, user) = server.register("Ada <b>", "ada@example.org").await;
    assert_eq!(status, 201, "{user}");
    let time = |name: &str| user[name].as_i64().unwrap();
    assert!(time("asked_us") <= time("saved_us"), "{user}");
    assert!(time("saved_us") <= time("answered_us") && time("enqueued_us") <= time("answered_us"), "{user}");

    let path = format!("/api/registrations/{}", user["id"].as_str().unwrap());
    assert_eq!(get(server.address, &path, LIMIT).await.unwrap().1["email"], "ada@example.org");
    let (_, state) = get(server.address, "/api/state", LIMIT).await.unwrap();
    assert_eq!(state["users"][0]["name"], "Ada <b>");
}

#[tokio::test]
async fn answers_although_the_broker_is_away() {
    let server = server(false).await;
    let (status, user) = server.register("Ada", "ada@example.org").await;
    assert_eq!(status, 202, "{user}");
    assert_eq!(user["enqueued_us"], Value::Null);
    assert_eq!(server.web.users.count_waiting().await.unwrap(), 1);
}

#[tokio::test]
async fn refuses_bad_forms_with_a_reason() {
    let server = server(true).await;
    for (name, email, field) in [("", "ada@example.org", "name"), ("Ada", "ada", "email")] {
        let (status, answer) = server.register(name, email).await;
        assert_eq!((status, answer["field"].as_str()), (422, Some(field)), "{answer}");
    }
    assert_eq!(server.register("Ada", "ada@example.org").await.0, 201);
    let (status, answer) = server.register("Ada", "ADA@example.org").await;
    assert_eq!((status, answer["field"].as_str()), (409, Some("email")), "{answer}");

    let long = "x".repeat(MAX_BODY);
    assert_eq!(server.register(&long, "bob@example.org").await.0, 413);
    for body in [json!([]), json!({ "name": "Ada" }), json!({ "name": 1, "email": "a@b.c" })] {
        let (status, answer) = post(server.address, "/api/registrations", &body, LIMIT).await.unwrap();
        assert!(status == 422 && answer["error"].is_string(), "{status} {answer}");
    }
    assert_eq!(server.web.users.newest(10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn answers_every_request() {
    let server = server(true).await;
    for (request, status) in [
        ("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "200"),
        ("GET /page.js HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "200"),
        ("GET /../etc/passwd HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "404"),
        ("GET /api/registrations/x HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "404"),
        ("DELETE /api/registrations HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", "405"),
        ("POST /api/registrations HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}", "415"),
        (
            "POST /api/registrations HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: 1\r\n\r\n{",
            "400",
        ),
        (
            "POST /api/registrations/direct HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
            "404",
        ),
        ("no http\r\n\r\n", "400"),
    ] {
        let line = server.raw(request).await;
        assert_eq!(line.split(' ').nth(1), Some(status), "{request:?} {line:?}");
    }
}
