//! An HTTP client with one connection, without retries, and with a timeout for each response.

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
pub struct HttpClient {
    address: SocketAddr,
    timeout: Duration,
    connection: Option<SendRequest<Full<Bytes>>>,
}

/// The response of a node.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// The reason why there is no response.
#[derive(Debug)]
pub enum RequestError {
    /// The request was not sent.
    NotSent(anyhow::Error),
    /// The request may have been received.
    Lost(anyhow::Error),
}

impl HttpClient {
    /// A client of the node with this port, with a timeout for each response.
    #[must_use]
    pub fn new(port: u16, timeout: Duration) -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, port)), timeout, connection: None }
    }

    /// Sends a request, and reads the whole response.
    ///
    /// # Errors
    ///
    /// Returns an error if there is no response in time. The connection is then closed.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response, RequestError> {
        let within = self.timeout;
        let mut kept = self.connection.take();
        if let Some(connection) = &mut kept
            // The connection is ready after its task has processed the end of the previous
            // response.
            && !matches!(timeout(within, connection.ready()).await, Ok(Ok(())))
        {
            kept = None;
        }
        let mut connection = match kept {
            Some(connection) => connection,
            None => timeout(within, connect(self.address))
                .await
                .context("no connection in time")
                .and_then(|connected| connected)
                .map_err(RequestError::NotSent)?,
        };
        let response = timeout(within, exchange(&mut connection, request))
            .await
            .context("no response in time")
            .and_then(|response| response)
            .map_err(RequestError::Lost)?;
        self.connection = Some(connection);
        Ok(response)
    }

    /// Sends a request with a method, a path and a body.
    ///
    /// # Errors
    ///
    /// Returns an error if the request is invalid, or if there is no response.
    pub async fn ask(&mut self, method: Method, path: &str, body: &[u8]) -> Result<Response> {
        let request = request(method, path, body)?;
        Ok(self.send(request).await?)
    }

    /// Reads a path as JSON.
    ///
    /// # Errors
    ///
    /// Returns an error if the response is not a success with JSON.
    pub async fn json(&mut self, path: &str) -> Result<Value> {
        let answer = self.ask(Method::GET, path, b"").await?;
        ensure!(answer.status == StatusCode::OK, "{path}: {} {}", answer.status, answer.text());
        answer.json()
    }
}

/// A request without additional headers. The body of a POST is JSON.
///
/// # Errors
///
/// Returns an error if the path is invalid.
pub fn request(method: Method, path: &str, body: &[u8]) -> Result<Request<Full<Bytes>>> {
    let content_type = (method == Method::POST).then_some(("content-type", "application/json"));
    content_type
        .into_iter()
        .chain([("host", "localhost")])
        .fold(Request::builder(), |request, (name, value)| request.header(name, value))
        .method(method)
        .uri(path)
        .body(Full::new(Bytes::copy_from_slice(body)))
        .with_context(|| format!("invalid path: {path:?}"))
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true).context("cannot configure a socket")?;
    let (sender, connection) =
        handshake(TokioIo::new(stream)).await.context("HTTP handshake failed")?;
    // This task ends when the sender is dropped or the peer closes the connection.
    tokio::spawn(connection);
    Ok(sender)
}

async fn exchange(
    connection: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Response> {
    let response = connection.send_request(request).await.context("no response")?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.context("incomplete body")?.to_bytes();
    Ok(Response { status: head.status, headers: head.headers, body })
}

impl Response {
    /// The body as JSON.
    ///
    /// # Errors
    ///
    /// Returns an error if the body is not JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("invalid JSON: {}", self.text()))
    }

    /// The type of the problem details in the body.
    #[must_use]
    pub fn problem_type(&self) -> Option<String> {
        self.json().ok()?["type"].as_str().map(str::to_owned)
    }

    /// The body as text for messages.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The value of a header, if it exists and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl std::fmt::Display for RequestError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotSent(error) => write!(f, "not sent: {error:#}"),
            Self::Lost(error) => write!(f, "no response: {error:#}"),
        }
    }
}

impl std::error::Error for RequestError {}

/// A key with percent-encoding for a path.
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
    async fn silent_server_differs_from_absent_server() {
        let silent = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = silent.local_addr().unwrap().port();
        let mut client = HttpClient::new(port, crate::cluster::TIMEOUT);
        let get = || request(Method::GET, "/", b"").unwrap();
        let hang_up = async {
            let (mut stream, _) = silent.accept().await.unwrap();
            // Unread bytes would turn the end of the connection into a reset.
            let mut received = [0; 1024];
            let _ = stream.read(&mut received).await;
        };
        let (answer, ()) = tokio::join!(client.send(get()), hang_up);
        assert!(matches!(answer, Err(RequestError::Lost(_))));
        drop(silent);
        assert!(matches!(client.send(get()).await, Err(RequestError::NotSent(_))));
    }
}
