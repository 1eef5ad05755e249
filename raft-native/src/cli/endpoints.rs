//! The nodes that a client command can use, and their order.
//!
//! A process that was stopped still accepts connections, and a write without a response must not be
//! repeated. So the command first checks the readiness of each node, and sends the request only to
//! nodes that respond.

use std::time::Duration;

use serde_json::Value;
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body};

use super::failure::ClientError;

/// The nodes that a command can use.
pub(crate) struct Endpoints {
    agent: Agent,
    endpoints: Vec<String>,
    timeout: Duration,
}

/// The kind of a request, which decides whether it may be repeated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// A read may always be repeated.
    Read,
    /// A write may be repeated only if the first attempt was certainly not carried out.
    Write,
}

/// The whole response of a node.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// The readiness of a node.
enum Readiness {
    Ready,
    /// The node responds and is not ready.
    NotReady,
    /// The node does not respond in time.
    Silent,
    /// The node accepts no connection.
    Unreachable,
}

/// The longest duration of a connection attempt and of a readiness check.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
const ANSWER_BYTES_MAX: u64 = 16 << 20;

impl Endpoints {
    /// The nodes with these addresses, and the timeout of a request.
    ///
    /// # Errors
    ///
    /// An address is missing or invalid.
    pub(crate) fn new(endpoints: &[String], timeout: Duration) -> Result<Self, ClientError> {
        let endpoints = endpoints.iter().map(|endpoint| endpoint.trim().to_owned());
        let endpoints: Vec<_> = endpoints.filter(|endpoint| !endpoint.is_empty()).collect();
        if endpoints.is_empty() {
            let problem = "missing --endpoints; give a node, for example localhost:50051";
            return Err(ClientError::Usage(problem.into()));
        }
        if let Some(endpoint) = endpoints.iter().find(|endpoint| endpoint.contains('/')) {
            let problem = format!("invalid --endpoints: {endpoint:?}; give HOST:PORT");
            return Err(ClientError::Usage(problem));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(PROBE_TIMEOUT))
            .timeout_global(Some(timeout));
        Ok(Self { agent: config.build().into(), endpoints, timeout })
    }

    /// Sends a request to one node after another until a node serves it: first to ready nodes, then
    /// to nodes that are not ready, then to slow nodes.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unavailable`] if no node could serve the request, or
    /// [`ClientError::OutcomeUnknown`] if a node may have applied it.
    pub(crate) fn ask(
        &self,
        access: Access,
        request: impl Fn(&Agent, &str) -> Result<Response<Body>, ureq::Error>,
    ) -> Result<Answer, ClientError> {
        let mut problem = None;
        let (mut not_ready, mut silent) = (Vec::new(), Vec::new());
        for endpoint in &self.endpoints {
            match self.probe(endpoint, PROBE_TIMEOUT, &mut problem) {
                Readiness::Ready => {
                    if let Some(answer) = self.send(access, endpoint, &request, &mut problem)? {
                        return Ok(answer);
                    }
                }
                Readiness::NotReady => not_ready.push(endpoint),
                Readiness::Silent => silent.push(endpoint),
                Readiness::Unreachable => {}
            }
        }
        for endpoint in not_ready {
            if let Some(answer) = self.send(access, endpoint, &request, &mut problem)? {
                return Ok(answer);
            }
        }
        for endpoint in silent {
            let readiness = self.probe(endpoint, self.timeout, &mut problem);
            if matches!(readiness, Readiness::Ready | Readiness::NotReady)
                && let Some(answer) = self.send(access, endpoint, &request, &mut problem)?
            {
                return Ok(answer);
            }
        }
        Err(ClientError::Unavailable(problem.unwrap_or_else(|| "no node could be used".into())))
    }

    fn probe(&self, endpoint: &str, timeout: Duration, problem: &mut Option<String>) -> Readiness {
        let request = self.agent.get(format!("http://{endpoint}/readyz"));
        let answer = request.config().timeout_global(Some(timeout)).build().call();
        // After the whole body, the request can use the same connection.
        let answer = answer.and_then(|mut answer| {
            answer.body_mut().read_to_vec().map(|_| answer.status().is_success())
        });
        match answer {
            Ok(true) => Readiness::Ready,
            Ok(false) => Readiness::NotReady,
            Err(error) => {
                let is_slow = !is_not_sent(&error);
                // The first problem wins: the response of a node says more than a failed
                // connection.
                problem.get_or_insert_with(|| {
                    format!("cannot reach {endpoint}: {error}; check the address and the node")
                });
                if is_slow { Readiness::Silent } else { Readiness::Unreachable }
            }
        }
    }

    /// Sends the request to one node. Returns `None` if another node can be tried.
    fn send(
        &self,
        access: Access,
        endpoint: &str,
        request: impl Fn(&Agent, &str) -> Result<Response<Body>, ureq::Error>,
        problem: &mut Option<String>,
    ) -> Result<Option<Answer>, ClientError> {
        let answer = request(&self.agent, endpoint).and_then(Answer::read);
        let (text, is_definite) = match answer {
            Ok(answer) if !answer.status.is_server_error() && answer.status != OVERLOADED => {
                return Ok(Some(answer));
            }
            Ok(answer) => (answer.problem(), answer.is_not_done()),
            Err(error) => (format!("no response from {endpoint}: {error}"), is_not_sent(&error)),
        };
        if access == Access::Write && !is_definite {
            let hint = "the write may or may not have been applied, or may still be";
            return Err(ClientError::OutcomeUnknown(format!("{text}; {hint}")));
        }
        *problem = Some(text);
        Ok(None)
    }
}

const OVERLOADED: StatusCode = StatusCode::TOO_MANY_REQUESTS;

/// Returns true if no connection was established, so the node did not get the request.
fn is_not_sent(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve)
        | ureq::Error::HostNotFound
        | ureq::Error::BadUri(_)
        | ureq::Error::ConnectionFailed => true,
        _ => false,
    }
}

impl Answer {
    fn read(response: Response<Body>) -> Result<Self, ureq::Error> {
        let (head, mut body) = response.into_parts();
        let body = body.with_config().limit(ANSWER_BYTES_MAX).read_to_vec()?;
        Ok(Self { status: head.status, headers: head.headers, body })
    }

    /// The body as JSON, or null if the body is not JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Returns true if the body is a problem whose type ends with this name.
    pub(crate) fn is_problem(&self, name: &str) -> bool {
        let kind = &self.json()["type"];
        kind.as_str().is_some_and(|kind| kind.rsplit('/').next() == Some(name))
    }

    /// The detail of the problem, with the status.
    pub(crate) fn problem(&self) -> String {
        let problem = self.json();
        let detail = problem["detail"].as_str().unwrap_or_default();
        format!("{detail} ({})", self.status).trim().to_owned()
    }

    fn is_not_done(&self) -> bool {
        self.json()["outcome"] == "not-done"
    }

    /// The number in a header, or 0 without the header.
    pub(crate) fn number(&self, name: &str) -> i64 {
        let value = self.headers.get(name).and_then(|value| value.to_str().ok());
        value.and_then(|value| value.parse().ok()).unwrap_or_default()
    }

    /// The revision of the store.
    pub(crate) fn revision(&self) -> i64 {
        self.number("x-raft-revision")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_with_scheme_or_path_is_refused() {
        let endpoints = |text: &str| Endpoints::new(&[text.to_owned()], Duration::from_secs(1));
        assert!(endpoints("localhost:50051").is_ok());
        for wrong in ["http://localhost:50051", "localhost:50051/", "", "a/b"] {
            assert!(matches!(endpoints(wrong), Err(ClientError::Usage(_))), "{wrong:?}");
        }
    }
}
