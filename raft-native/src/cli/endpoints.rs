//! The nodes that a client command may ask, and which of them is asked next.
//!
//! A node that was stopped still takes connections, and an unanswered write must not be sent again.
//! So each node is first asked whether it is ready, and the request goes to nodes that answer that.

use std::time::Duration;

use serde_json::Value;
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body};

use super::failure::ClientError;

/// The nodes to ask.
pub(crate) struct Endpoints {
    agent: Agent,
    endpoints: Vec<String>,
    timeout: Duration,
}

/// Whether a request may be sent twice.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// It may: it changes nothing.
    Read,
    /// It may only if the earlier one certainly was not carried out.
    Write,
}

/// A whole answer of a node.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// How a node answers the question whether it is ready.
enum Readiness {
    Ready,
    /// It answers, and knows no leader.
    NotReady,
    /// It does not answer in time.
    Silent,
    /// It cannot be reached.
    Unreachable,
}

/// How long a node may take for a connection, and to say whether it is ready.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
const ANSWER_BYTES_MAX: u64 = 16 << 20;

impl Endpoints {
    /// The nodes with these addresses; each request may take this long.
    ///
    /// # Errors
    ///
    /// If there is no address.
    pub(crate) fn new(endpoints: &[String], timeout: Duration) -> Result<Self, ClientError> {
        let endpoints = endpoints.iter().map(|endpoint| endpoint.trim().to_owned());
        let endpoints: Vec<_> = endpoints.filter(|endpoint| !endpoint.is_empty()).collect();
        if endpoints.is_empty() {
            let problem = "--endpoints is empty; name a node, such as localhost:50051";
            return Err(ClientError::Usage(problem.into()));
        }
        if let Some(endpoint) = endpoints.iter().find(|endpoint| endpoint.contains('/')) {
            let problem = format!("--endpoints: invalid endpoint: {endpoint:?}; give HOST:PORT");
            return Err(ClientError::Usage(problem));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(PROBE_TIMEOUT))
            .timeout_global(Some(timeout));
        Ok(Self { agent: config.build().into(), endpoints, timeout })
    }

    /// Sends a request to one node after the other, until one answers it: first to those that are
    /// ready, then to those that know no leader, then to those that are slow.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unavailable`] if no node could carry it out;
    /// [`ClientError::OutcomeUnknown`] if it may have been carried out.
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
        Err(ClientError::Unavailable(problem.unwrap_or_else(|| "no node was asked".into())))
    }

    fn probe(&self, endpoint: &str, timeout: Duration, problem: &mut Option<String>) -> Readiness {
        let request = self.agent.get(format!("http://{endpoint}/readyz"));
        let answer = request.config().timeout_global(Some(timeout)).build().call();
        // The body is read so that the request can go through the same connection.
        let answer = answer.and_then(|mut answer| {
            answer.body_mut().read_to_vec().map(|_| answer.status().is_success())
        });
        match answer {
            Ok(true) => Readiness::Ready,
            Ok(false) => Readiness::NotReady,
            Err(error) => {
                let is_slow = !is_not_sent(&error);
                // What a node has answered says more than that another one cannot be reached.
                problem.get_or_insert_with(|| format!("{endpoint} cannot be reached: {error}"));
                if is_slow { Readiness::Silent } else { Readiness::Unreachable }
            }
        }
    }

    /// Sends the request to one node. `None` if another node may be asked.
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
            Err(error) => (format!("{endpoint} does not answer: {error}"), is_not_sent(&error)),
        };
        if access == Access::Write && !is_definite {
            let hint = "the write may have been done, or be done later, or not";
            return Err(ClientError::OutcomeUnknown(format!("{text}; {hint}")));
        }
        *problem = Some(text);
        Ok(None)
    }
}

const OVERLOADED: StatusCode = StatusCode::TOO_MANY_REQUESTS;

/// Returns true if no connection was made, so that nothing can have been done.
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

    /// The answer as JSON; null if it is something else.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Returns true if this is the problem with this last part of its type.
    pub(crate) fn is_problem(&self, name: &str) -> bool {
        let kind = &self.json()["type"];
        kind.as_str().is_some_and(|kind| kind.rsplit('/').next() == Some(name))
    }

    /// What is wrong, as the node says it.
    pub(crate) fn problem(&self) -> String {
        let problem = self.json();
        let detail = problem["detail"].as_str().unwrap_or_default();
        format!("{detail} ({})", self.status).trim().to_owned()
    }

    fn is_not_done(&self) -> bool {
        self.json()["outcome"] == "not-done"
    }

    /// A header that is a number; 0 without it.
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
