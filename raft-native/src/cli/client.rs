//! The commands of a client: they talk to any node over REST.

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde_json::{Value, json};
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use super::{Failure, Output, say};

#[derive(Args)]
pub(crate) struct ClientArgs {
    /// The nodes to ask, as HOST:PORT, separated by commas; the first that answers is taken.
    #[arg(long, env = "RAFT_ENDPOINTS", value_delimiter = ',', default_value = "localhost:50051")]
    endpoints: Vec<String>,
    /// How to print what is found.
    #[arg(long, env = "RAFT_OUTPUT", value_enum, default_value_t)]
    output: Output,
}

#[derive(Args)]
pub(crate) struct PutArgs {
    /// The key.
    key: String,
    /// The value.
    value: String,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Args)]
pub(crate) struct GetArgs {
    /// The key.
    key: String,
    /// Take what the asked node knows, which may be old.
    #[arg(long)]
    stale: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Args)]
pub(crate) struct DeleteArgs {
    /// The key.
    key: String,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// Longer than a node takes to give up a request.
const TIMEOUT: Duration = Duration::from_secs(10);
const VALUE_BYTES_MAX: u64 = 16 << 20;

/// What to do with the next endpoint if one cannot be reached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Retry {
    /// Ask it: reading twice does no harm.
    Always,
    /// Ask it only if nothing was sent: a write may have been done.
    IfNotSent,
}

pub(crate) fn put(args: &PutArgs) -> Result<ExitCode, Failure> {
    let response = args.client.ask(Retry::IfNotSent, |agent, endpoint| {
        agent.put(key_url(endpoint, &args.key)).send(args.value.as_bytes())
    })?;
    let revision = revision(&checked(response)?);
    match args.client.output {
        Output::Json => say(format_args!("{}", json!({ "revision": revision })))?,
        Output::Text => say(format_args!("ok (revision {revision})"))?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn get(args: &GetArgs) -> Result<ExitCode, Failure> {
    let consistency = if args.stale { "stale" } else { "linearizable" };
    let response = args.client.ask(Retry::Always, |agent, endpoint| {
        let url = format!("{}?consistency={consistency}", key_url(endpoint, &args.key));
        agent.get(url).call()
    })?;
    if response.status() == StatusCode::NOT_FOUND {
        return Err(Failure::Failed(format!("there is no key {:?}", args.key)));
    }
    let mut response = checked(response)?;
    let (revision, header) = (revision(&response), header(&response, "x-raft-mod-revision"));
    let body = response.body_mut().with_config().limit(VALUE_BYTES_MAX).read_to_vec();
    let value = body.map_err(|error| Failure::Failed(error.to_string()))?;
    match args.client.output {
        Output::Json => {
            let mut found =
                json!({ "key": args.key, "mod_revision": header, "revision": revision });
            match String::from_utf8(value) {
                Ok(text) => found["value"] = text.into(),
                Err(bytes) => {
                    found["value_base64"] = BASE64_STANDARD.encode(bytes.as_bytes()).into();
                }
            }
            say(format_args!("{found}"))?;
        }
        Output::Text => {
            let mut out = std::io::stdout().lock();
            let written = out.write_all(&value).and_then(|()| out.write_all(b"\n"));
            written.map_err(|error| Failure::Failed(error.to_string()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn delete(args: &DeleteArgs) -> Result<ExitCode, Failure> {
    let response = args.client.ask(Retry::IfNotSent, |agent, endpoint| {
        agent.delete(key_url(endpoint, &args.key)).call()
    })?;
    let deleted = response.status() != StatusCode::NOT_FOUND;
    let response = if deleted { checked(response)? } else { response };
    match args.client.output {
        Output::Json => {
            say(format_args!(
                "{}",
                json!({ "deleted": u64::from(deleted), "revision": revision(&response) })
            ))?;
        }
        Output::Text if deleted => say(format_args!("deleted (revision {})", revision(&response)))?,
        Output::Text => say(format_args!("there was no key {:?}", args.key))?,
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn status(args: &StatusArgs) -> Result<ExitCode, Failure> {
    let response = args.client.ask(Retry::Always, |agent, endpoint| {
        agent.get(format!("http://{endpoint}/v1/cluster")).call()
    })?;
    let mut response = checked(response)?;
    let cluster: Value =
        response.body_mut().read_json().map_err(|error| Failure::Failed(error.to_string()))?;
    if args.client.output == Output::Json {
        say(format_args!("{cluster}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    say(format_args!(
        "{:<12} {:<22} {:<10} {:>6} {:>10} {:>10}",
        "NODE", "ADDRESS", "ROLE", "TERM", "COMMITTED", "APPLIED"
    ))?;
    for node in cluster["nodes"].as_array().into_iter().flatten() {
        let status = &node["status"];
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let number =
            |value: &Value| value.as_u64().map_or("-".to_owned(), |number| number.to_string());
        let role =
            if node["reachable"] == true { text(&status["role"]) } else { "no answer".into() };
        say(format_args!(
            "{:<12} {:<22} {:<10} {:>6} {:>10} {:>10}",
            text(&status["node_id"]),
            text(&node["address"]),
            role,
            number(&status["term"]),
            number(&status["commit_index"]),
            number(&status["applied_index"])
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

impl ClientArgs {
    /// Asks one endpoint after the other.
    fn ask(
        &self,
        retry: Retry,
        request: impl Fn(&Agent, &str) -> Result<Response<Body>, ureq::Error>,
    ) -> Result<Response<Body>, Failure> {
        let config =
            Agent::config_builder().http_status_as_error(false).timeout_global(Some(TIMEOUT));
        let agent: Agent = config.build().into();
        let mut problem =
            "--endpoints names nobody: name a node, such as localhost:50051".to_owned();
        for endpoint in
            self.endpoints.iter().map(|endpoint| endpoint.trim()).filter(|e| !e.is_empty())
        {
            match request(&agent, endpoint) {
                Ok(response) => return Ok(response),
                Err(error) => {
                    problem = format!("{endpoint} cannot be asked: {error}");
                    if retry == Retry::IfNotSent && !is_not_sent(&error) {
                        let hint = "the request may have been carried out";
                        return Err(Failure::Failed(format!("{problem}; {hint}")));
                    }
                }
            }
        }
        Err(Failure::Failed(problem))
    }
}

/// Whether no connection was made, so that nothing can have been done.
fn is_not_sent(error: &ureq::Error) -> bool {
    match error {
        ureq::Error::Io(error) => error.kind() == std::io::ErrorKind::ConnectionRefused,
        ureq::Error::HostNotFound | ureq::Error::BadUri(_) | ureq::Error::ConnectionFailed => true,
        _ => false,
    }
}

fn key_url(endpoint: &str, key: &str) -> String {
    format!("http://{endpoint}/v1/kv/{}", percent_encode(key.as_bytes(), NON_ALPHANUMERIC))
}

/// The answer, or what is wrong, as the node says it.
fn checked(mut response: Response<Body>) -> Result<Response<Body>, Failure> {
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status();
    let problem: Option<Value> = response.body_mut().read_json().ok();
    let detail =
        problem.as_ref().and_then(|problem| problem["detail"].as_str()).unwrap_or_default();
    Err(Failure::Failed(format!("{detail} ({status})").trim().to_owned()))
}

fn header(response: &Response<Body>, name: &str) -> i64 {
    let value = response.headers().get(name).and_then(|value| value.to_str().ok());
    value.and_then(|value| value.parse().ok()).unwrap_or_default()
}

fn revision(response: &Response<Body>) -> i64 {
    header(response, "x-raft-revision")
}
