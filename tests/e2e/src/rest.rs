//! An HTTP client that hides nothing: one connection, no retries, and a deadline for each answer.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{HeaderMap, Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A client of one node.
pub struct Rest {
    address: SocketAddr,
    patience: Duration,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// What the node answered.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Unanswered {
    /// The request was not sent.
    NotSent(anyhow::Error),
    /// The request may have been received.
    Lost(anyhow::Error),
}

impl Rest {
    /// A client of the node with this port, which waits so long for each answer.
    #[must_use]
    pub fn new(port: u16, patience: Duration) -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), patience, connection: None }
    }

    /// Sends a request and reads the whole answer.
    ///
    /// # Errors
    ///
    /// If there is no answer in time; the connection is given up then.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, Unanswered> {
        let patience = self.patience;
        let mut kept = self.connection.take();
        if let Some(connection) = &mut kept
            // It is ready as soon as its task has seen the end of the previous answer.
            && !matches!(timeout(patience, connection.ready()).await, Ok(Ok(())))
        {
            kept = None;
        }
        let mut connection = match kept {
            Some(connection) => connection,
            None => timeout(patience, connect(self.address))
                .await
                .context("no connection in time")
                .and_then(|connected| connected)
                .map_err(Unanswered::NotSent)?,
        };
        let answer = timeout(patience, exchange(&mut connection, request))
            .await
            .context("no answer in time")
            .and_then(|answer| answer)
            .map_err(Unanswered::Lost)?;
        self.connection = Some(connection);
        Ok(answer)
    }

    /// Sends a request with this method, path and body.
    ///
    /// # Errors
    ///
    /// If it can't be built, or is not answered.
    pub async fn ask(&mut self, method: Method, path: &str, body: &[u8]) -> Result<Answer> {
        let request = request(method, path, body)?;
        Ok(self.send(request).await?)
    }

    /// What a path serves, as JSON.
    ///
    /// # Errors
    ///
    /// If the answer is no success, or no JSON.
    pub async fn json(&mut self, path: &str) -> Result<Value> {
        let answer = self.ask(Method::GET, path, b"").await?;
        ensure!(answer.status == StatusCode::OK, "{path}: {} {}", answer.status, answer.text());
        answer.json()
    }
}

/// A request without headers of its own. The body of a POST is JSON.
///
/// # Errors
///
/// If the path is none.
pub fn request(method: Method, path: &str, body: &[u8]) -> Result<Request<Full<Bytes>>> {
    let content_type = (method == Method::POST).then_some(("content-type", "application/json"));
    content_type
        .into_iter()
        .chain([("host", "localhost")])
        .fold(Request::builder(), |request, (name, value)| request.header(name, value))
        .method(method)
        .uri(path)
        .body(Full::new(Bytes::copy_from_slice(body)))
        .with_context(|| format!("{path:?} makes no request"))
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true).context("cannot set a socket up")?;
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.context("cannot speak HTTP")?;
    // It ends when the sender is dropped or the peer hangs up.
    tokio::spawn(connection);
    Ok(sender)
}

async fn exchange(
    connection: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Answer> {
    let response = connection.send_request(request).await.context("no response")?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.context("no whole body")?.to_bytes();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("no JSON: {}", self.text()))
    }

    /// The type of the problem that the body describes.
    #[must_use]
    pub fn problem_type(&self) -> Option<String> {
        self.json().ok()?["type"].as_str().map(str::to_owned)
    }

    /// The body as text, to be shown.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value, if there is such a header and it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl std::fmt::Display for Unanswered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotSent(error) => write!(f, "not sent: {error:#}"),
            Self::Lost(error) => write!(f, "no answer: {error:#}"),
        }
    }
}

impl std::error::Error for Unanswered {}

/// A key as it stands in a path.
#[must_use]
pub fn escaped(key: &[u8]) -> String {
    let mut path = String::new();
    for &byte in key {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                path.push(char::from(byte));
            }
            _ => path.push_str(&format!("%{byte:02X}")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    #[test]
    fn keys_are_percent_encoded_per_byte() {
        assert_eq!(escaped("a/ü~".as_bytes()), "a%2F%C3%BC~");
        assert_eq!(escaped(&[0, 255]), "%00%FF");
    }

    #[tokio::test]
    async fn server_without_an_answer_is_told_from_an_absent_server() {
        let silent = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let mut client = Rest::new(port, crate::cluster::PATIENCE);
        let get = || request(Method::GET, "/", b"").unwrap();
        let hang_up = async {
            let (mut stream, _) = silent.accept().await.unwrap();
            // Bytes that are not read would turn the end of the connection into a reset.
            let mut asked = [0; 1024];
            let _ = stream.read(&mut asked).await;
        };
        let (answer, ()) = tokio::join!(client.send(get()), hang_up);
        assert!(matches!(answer, Err(Unanswered::Lost(_))));
        drop(silent);
        assert!(matches!(client.send(get()).await, Err(Unanswered::NotSent(_))));
    }
}
