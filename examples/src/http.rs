//! A small HTTP/1.1 client: one JSON request per connection to a server of our own.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longest answer that is read.
const MAX_ANSWER: u64 = 4 * 1024 * 1024;

/// A request that got no answer, or one that is not HTTP with a JSON body.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("no answer from http://{0}: {1}")]
    Socket(SocketAddr, std::io::Error),
    #[error("no answer from http://{0} within {1:?}")]
    Deadline(SocketAddr, Duration),
    #[error("http://{0} did not answer with HTTP and JSON: {1}")]
    Answer(SocketAddr, String),
}

/// Sends `body` by POST; answers with the status and the answer's body.
///
/// # Errors
/// No answer in time, or one that is not JSON.
pub async fn post(to: SocketAddr, path: &str, body: &Value, limit: Duration) -> Result<(u16, Value), HttpError> {
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    exchange(to, head + &body, limit).await
}

/// Asks for `path` by GET; answers with the status and the answer's body.
///
/// # Errors
/// No answer in time, or one that is not JSON.
pub async fn get(to: SocketAddr, path: &str, limit: Duration) -> Result<(u16, Value), HttpError> {
    exchange(to, format!("GET {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\r\n"), limit).await
}

async fn exchange(to: SocketAddr, request: String, limit: Duration) -> Result<(u16, Value), HttpError> {
    let talk = async {
        let mut stream = TcpStream::connect(to).await?;
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    let answer = tokio::time::timeout(limit, talk)
        .await
        .map_err(|_| HttpError::Deadline(to, limit))?
        .map_err(|error| HttpError::Socket(to, error))?;
    parse(&answer).map_err(|what| HttpError::Answer(to, what))
}

fn parse(answer: &[u8]) -> Result<(u16, Value), String> {
    let text = std::str::from_utf8(answer).map_err(|error| error.to_string())?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or("the head does not end")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or("no status in the first line")?;
    let body = serde_json::from_str(body).map_err(|error| format!("status {status}, body: {error}"))?;
    Ok((status, body))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_status_and_json() {
        let (status, body) = parse(b"HTTP/1.1 409 Conflict\r\ncontent-length: 13\r\n\r\n{\"error\":\"x\"}").unwrap();
        assert_eq!((status, body["error"].as_str()), (409, Some("x")));
    }

    #[test]
    fn refuses_what_is_not_http() {
        for answer in
            [&b""[..], b"\xff", b"HTTP/1.1\r\n\r\n{}", b"HTTP/1.1 200 OK\r\n\r\n<html>", b"HTTP/1.1 200 OK\r\n"]
        {
            assert!(parse(answer).is_err(), "{answer:?}");
        }
    }
}
