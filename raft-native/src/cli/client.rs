//! The client commands, which use the REST interface of any node.

use std::borrow::Cow;
use std::fs::File;
use std::io::{ErrorKind, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;
use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use serde_json::{Value, json};
use ureq::http::StatusCode;

use super::Output;
use super::endpoints::{Access, Answer, Endpoints};
use super::escape::escaped;
use super::failure::ClientError;

#[derive(Args)]
pub(crate) struct ClientArgs {
    /// The nodes to use, as HOST:PORT, separated by commas.
    ///
    /// If a node is unreachable or knows no leader, the command uses the next one.
    #[arg(long, env = "RAFT_ENDPOINTS", value_delimiter = ',', default_value = "localhost:50051")]
    endpoints: Vec<String>,
    /// The format of results and errors.
    #[arg(long, env = "RAFT_OUTPUT", value_enum, default_value_t)]
    output: Output,
    /// The longest duration of a request, in milliseconds.
    ///
    /// Use more than --request-timeout-ms of the node. Otherwise the outcome of a slow write is
    /// unknown.
    #[arg(long, env = "RAFT_TIMEOUT_MS", default_value_t = 10_000, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..=3_600_000))]
    timeout_ms: u64,
}

#[derive(Args)]
pub(crate) struct PutArgs {
    /// The key.
    #[arg(value_parser = key)]
    key: String,
    /// The value; - reads it from standard input.
    #[arg(
        required_unless_present = "file",
        conflicts_with = "file",
        allow_negative_numbers = true
    )]
    value: Option<String>,
    /// The file that contains the value.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Write only if the key was last changed at this revision.
    #[arg(long, conflicts_with = "if_absent", allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    if_revision: Option<u64>,
    /// Write only if the key does not exist.
    #[arg(long)]
    if_absent: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Args)]
pub(crate) struct GetArgs {
    /// The key.
    #[arg(value_parser = key)]
    key: String,
    /// Read the state of the node that responds, which may be old.
    #[arg(long)]
    stale: bool,
    /// Read the key at this revision of the store [default: the current revision].
    #[arg(long, allow_negative_numbers = true)]
    revision: Option<u64>,
    #[command(flatten)]
    text: TextArgs,
    #[command(flatten)]
    client: ClientArgs,
}

/// How bytes are printed as text.
#[derive(Args)]
struct TextArgs {
    /// Print control characters unchanged on a terminal, instead of escape sequences such as
    /// \u{1b}. Without a terminal, all bytes are printed unchanged.
    #[arg(long)]
    raw: bool,
}

impl TextArgs {
    fn printable<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if !self.raw && std::io::stdout().is_terminal() { escaped(bytes) } else { bytes.into() }
    }
}

#[derive(Args)]
pub(crate) struct DeleteArgs {
    /// The key.
    #[arg(value_parser = key)]
    key: String,
    /// Remove the key only if it was last changed at this revision.
    #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    if_revision: Option<u64>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Args)]
pub(crate) struct ListArgs {
    /// List only keys that begin with this prefix.
    #[arg(long, default_value = "")]
    prefix: String,
    /// The largest number of keys [default: no limit].
    #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(u64).range(1..))]
    limit: Option<u64>,
    /// Print the keys without their values.
    #[arg(long)]
    keys_only: bool,
    /// Read the state of the node that responds, which may be old.
    #[arg(long)]
    stale: bool,
    /// Read the keys at this revision of the store [default: the current revision].
    #[arg(long, allow_negative_numbers = true)]
    revision: Option<u64>,
    #[command(flatten)]
    text: TextArgs,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// The key of the command has no bytes.
#[derive(Debug, thiserror::Error)]
#[error("invalid key: it is empty; give at least one byte")]
struct EmptyKey;

fn key(text: &str) -> Result<String, EmptyKey> {
    if text.is_empty() { Err(EmptyKey) } else { Ok(text.to_owned()) }
}

/// The largest value that is read. It exceeds the limit of a node, so the node reports its limit.
const VALUE_BYTES_MAX: u64 = 16 << 20;
/// The number of keys in one request of a list.
const PAGE: u64 = 1000;

pub(crate) fn put(args: &PutArgs) -> ExitCode {
    args.client.report(try_put(args))
}

pub(crate) fn get(args: &GetArgs) -> ExitCode {
    args.client.report(try_get(args))
}

pub(crate) fn delete(args: &DeleteArgs) -> ExitCode {
    args.client.report(try_delete(args))
}

pub(crate) fn list(args: &ListArgs) -> ExitCode {
    args.client.report(try_list(args))
}

pub(crate) fn status(args: &StatusArgs) -> ExitCode {
    args.client.report(try_status(args))
}

fn try_put(args: &PutArgs) -> Result<(), ClientError> {
    let value = value(args)?;
    let answer = args.client.endpoints()?.ask(Access::Write, |agent, endpoint| {
        let mut request = agent.put(key_url(endpoint, &args.key));
        if args.if_absent {
            request = request.header("if-none-match", "*");
        }
        if let Some(revision) = args.if_revision {
            request = request.header("if-match", format!("\"{revision}\""));
        }
        request.send(&value[..])
    })?;
    let revision = into_result(answer, &args.key)?.revision();
    match args.client.output {
        Output::Json => print(format_args!("{}", json!({ "revision": revision }))),
        Output::Text => print(format_args!("ok (revision {revision})")),
    }
}

/// The value from the command line, a file, or standard input.
fn value(args: &PutArgs) -> Result<Vec<u8>, ClientError> {
    let read = |from: &mut dyn Read, name: &Path| {
        let mut value = Vec::new();
        match from.take(VALUE_BYTES_MAX + 1).read_to_end(&mut value) {
            Ok(_) if value.len() as u64 > VALUE_BYTES_MAX => Err(ClientError::Usage(format!(
                "value too large: {} has more than {VALUE_BYTES_MAX} bytes; split it",
                name.display()
            ))),
            Ok(_) => Ok(value),
            Err(error) => Err(ClientError::Usage(format!(
                "cannot read the value from {}: {error}; check the file",
                name.display()
            ))),
        }
    };
    match (&args.file, &args.value) {
        (Some(path), _) => match File::open(path) {
            Ok(mut file) => read(&mut file, path),
            Err(error) => Err(ClientError::Usage(format!(
                "cannot open {}: {error}; check --file",
                path.display()
            ))),
        },
        (None, Some(value)) if value == "-" => {
            read(&mut std::io::stdin().lock(), Path::new("standard input"))
        }
        (None, value) => Ok(value.clone().unwrap_or_default().into_bytes()),
    }
}

fn try_get(args: &GetArgs) -> Result<(), ClientError> {
    let query = query(args.stale, args.revision);
    let answer = args.client.endpoints()?.ask(Access::Read, |agent, endpoint| {
        agent.get(format!("{}?{query}", key_url(endpoint, &args.key))).call()
    })?;
    let answer = into_result(answer, &args.key)?;
    let (revision, mod_revision) = (answer.revision(), answer.number("x-raft-mod-revision"));
    match args.client.output {
        Output::Json => {
            let mut found =
                json!({ "key": args.key, "mod_revision": mod_revision, "revision": revision });
            match String::from_utf8(answer.body) {
                Ok(text) => found["value"] = text.into(),
                Err(bytes) => {
                    found["value_base64"] = BASE64_STANDARD.encode(bytes.as_bytes()).into();
                }
            }
            print(format_args!("{found}"))
        }
        Output::Text => write([&args.text.printable(&answer.body), b"\n"]),
    }
}

fn try_delete(args: &DeleteArgs) -> Result<(), ClientError> {
    let answer = args.client.endpoints()?.ask(Access::Write, |agent, endpoint| {
        let mut request = agent.delete(key_url(endpoint, &args.key));
        if let Some(revision) = args.if_revision {
            request = request.header("if-match", format!("\"{revision}\""));
        }
        request.call()
    })?;
    let revision = into_result(answer, &args.key)?.revision();
    match args.client.output {
        Output::Json => print(format_args!("{}", json!({ "deleted": 1, "revision": revision }))),
        Output::Text => print(format_args!("deleted (revision {revision})")),
    }
}

/// Prints all pages, each at the revision of the first one.
fn try_list(args: &ListArgs) -> Result<(), ClientError> {
    let endpoints = args.client.endpoints()?;
    let prefix = percent_encode(args.prefix.as_bytes(), NON_ALPHANUMERIC).to_string();
    let mut revision = args.revision;
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut after = String::new();
    loop {
        let query = query(args.stale, revision);
        let limit = left.min(PAGE);
        let page = endpoints.ask(Access::Read, |agent, endpoint| {
            let url =
                format!("http://{endpoint}/v1/kv?prefix={prefix}&limit={limit}{after}&{query}");
            agent.get(url).call()
        })?;
        let page = into_result(page, &args.prefix)?.json();
        let items = page["kvs"].as_array().cloned().unwrap_or_default();
        for item in &items {
            let key = bytes(item, "key");
            after = format!("&after={}", percent_encode(&key, NON_ALPHANUMERIC));
            args.print_item(item, &key)?;
        }
        left = left.saturating_sub(items.len() as u64);
        revision = revision.or(page["revision"].as_u64());
        if page["more"] != true || items.is_empty() || left == 0 {
            return Ok(());
        }
    }
}

impl ListArgs {
    fn print_item(&self, item: &Value, key: &[u8]) -> Result<(), ClientError> {
        match (self.client.output, self.keys_only) {
            (Output::Json, false) => print(format_args!("{item}")),
            (Output::Json, true) => {
                let mut item = item.clone();
                if let Some(members) = item.as_object_mut() {
                    members.retain(|name, _| !name.starts_with("value"));
                }
                print(format_args!("{item}"))
            }
            (Output::Text, true) => write([&self.text.printable(key), b"\n"]),
            (Output::Text, false) => {
                let value = bytes(item, "value");
                let (key, value) = (self.text.printable(key), self.text.printable(&value));
                write([&key, b"\t", &value, b"\n"])
            }
        }
    }
}

/// The bytes of a key or a value in JSON, which is text or base64.
fn bytes(item: &Value, name: &str) -> Vec<u8> {
    match item[name].as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => {
            let encoded = item[format!("{name}_base64")].as_str().unwrap_or_default();
            BASE64_STANDARD.decode(encoded).unwrap_or_default()
        }
    }
}

fn try_status(args: &StatusArgs) -> Result<(), ClientError> {
    let answer = args.client.endpoints()?.ask(Access::Read, |agent, endpoint| {
        agent.get(format!("http://{endpoint}/v1/cluster")).call()
    })?;
    let cluster = into_result(answer, "")?.json();
    match args.client.output {
        Output::Json => print(format_args!("{cluster}"))?,
        Output::Text => print_members(&cluster)?,
    }
    if has_leader(&cluster) {
        Ok(())
    } else {
        let problem = "no leader: the cluster has no quorum or is electing; start the missing \
                       nodes or retry";
        Err(ClientError::Unavailable(problem.into()))
    }
}

/// Returns true if a member leads in the latest term that any member has reached.
fn has_leader(cluster: &Value) -> bool {
    let members = cluster["nodes"].as_array().into_iter().flatten();
    let statuses = members.filter(|member| member["reachable"] == true).map(|it| &it["status"]);
    let term = |status: &&Value| status["term"].as_u64().unwrap_or_default();
    let latest = statuses.clone().map(|status| term(&status)).max().unwrap_or_default();
    statuses.filter(|status| term(status) == latest).any(|status| status["role"] == "leader")
}

fn print_members(cluster: &Value) -> Result<(), ClientError> {
    print(format_args!(
        "{:<12} {:<22} {:<10} {:>6} {:>10} {:>10}",
        "NODE", "ADDRESS", "ROLE", "TERM", "COMMITTED", "APPLIED"
    ))?;
    for node in cluster["nodes"].as_array().into_iter().flatten() {
        let status = &node["status"];
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let number =
            |value: &Value| value.as_u64().map_or("-".to_owned(), |number| number.to_string());
        let role =
            if node["reachable"] == true { text(&status["role"]) } else { "no response".into() };
        print(format_args!(
            "{:<12} {:<22} {:<10} {:>6} {:>10} {:>10}",
            text(&status["node_id"]),
            text(&node["address"]),
            role,
            number(&status["term"]),
            number(&status["commit_index"]),
            number(&status["applied_index"])
        ))?;
    }
    Ok(())
}

impl ClientArgs {
    fn endpoints(&self) -> Result<Endpoints, ClientError> {
        Endpoints::new(&self.endpoints, Duration::from_millis(self.timeout_ms))
    }

    fn report(&self, result: Result<(), ClientError>) -> ExitCode {
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => error.report(self.output),
        }
    }
}

fn key_url(endpoint: &str, key: &str) -> String {
    format!("http://{endpoint}/v1/kv/{}", percent_encode(key.as_bytes(), NON_ALPHANUMERIC))
}

fn query(stale: bool, revision: Option<u64>) -> String {
    let consistency = if stale { "stale" } else { "linearizable" };
    let revision = revision.map(|revision| format!("&revision={revision}")).unwrap_or_default();
    format!("consistency={consistency}{revision}")
}

/// Returns the response, or the error that the node reports.
fn into_result(answer: Answer, key: &str) -> Result<Answer, ClientError> {
    match answer.status {
        status if status.is_success() => Ok(answer),
        StatusCode::NOT_FOUND if answer.is_problem("key-not-found") => {
            Err(ClientError::KeyNotFound(key.to_owned()))
        }
        StatusCode::PRECONDITION_FAILED => Err(ClientError::ConditionFailed(answer.problem())),
        _ => Err(ClientError::Refused(answer.problem())),
    }
}

fn print(line: impl std::fmt::Display) -> Result<(), ClientError> {
    write([line.to_string().as_bytes(), b"\n"])
}

/// Prints bytes unchanged. A closed pipe is not an error: its reader has stopped reading.
fn write<const N: usize>(parts: [&[u8]; N]) -> Result<(), ClientError> {
    match std::io::stdout().write_all(&parts.concat()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(ClientError::Refused(format!("cannot print: {error}")))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_leader_of_latest_term_counts() {
        let member = |reachable: bool, role: &str, term: u64| json!({ "reachable": reachable, "status": { "role": role, "term": term } });
        let has_leader = |members: &[Value]| has_leader(&json!({ "nodes": members }));
        assert!(has_leader(&[member(true, "leader", 2), member(true, "follower", 2)]));
        assert!(!has_leader(&[member(true, "follower", 2), member(false, "leader", 2)]));
        assert!(!has_leader(&[member(true, "leader", 1), member(true, "follower", 2)]));
        assert!(!has_leader(&[json!({ "reachable": false, "status": null })]));
        assert!(!has_leader(&[]));
    }
}
