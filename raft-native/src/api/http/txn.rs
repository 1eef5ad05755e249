//! Transactions over REST.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use raft_kv::{
    Command, Compare, Delete, KeyRange, Op, OpResult, Operand, Put, RangeRequest, Relation,
    RequestResult, Txn,
};
use serde::{Deserialize, Serialize};

use crate::api::Api;
use crate::api::http::applied::{Done, without_result};
use crate::api::http::body;
use crate::api::http::kv::{Item, with_revision};
use crate::api::http::query::Parameters;
use crate::api::problem::Problem;

/// The number of reads in one transaction. Their values are in memory at the same time.
const GETS_MAX: usize = 32;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// The conditions, which must all hold.
    #[serde(default)]
    compare: Vec<Condition>,
    /// The operations if the conditions hold.
    #[serde(default)]
    success: Vec<Operation>,
    /// The operations if a condition does not hold.
    #[serde(default)]
    failure: Vec<Operation>,
}

/// A comparison with one property of a key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<CompareTarget<String>>,
    value_base64: Option<CompareTarget<String>>,
    version: Option<CompareTarget<i64>>,
    create_revision: Option<CompareTarget<i64>>,
    mod_revision: Option<CompareTarget<i64>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum CompareTarget<T> {
    Equal(T),
    NotEqual(T),
    Greater(T),
    Less(T),
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Operation {
    Put(Pair),
    Get(Key),
    Delete(Key),
}

/// A key as text or in base64.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    key: Option<String>,
    key_base64: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    key: Option<String>,
    key_base64: Option<String>,
    value: Option<String>,
    value_base64: Option<String>,
}

#[derive(Serialize)]
struct TxnResponse {
    revision: i64,
    /// True if the conditions held.
    succeeded: bool,
    results: Vec<OpOutcome>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum OpOutcome {
    Put {},
    Get { kv: Option<Item> },
    Delete { deleted: u64 },
}

pub(crate) async fn execute(
    State(api): State<Api>,
    parameters: Result<Parameters, Problem>,
    body: Result<body::JsonBody, Problem>,
) -> Result<Response, Problem> {
    let body::JsonBody(body) = body?;
    parameters?.finish()?;
    if body.trim_ascii_start().starts_with(b"[") {
        // The parser would treat the elements as the fields in their order.
        return Err(Problem::bad_request("invalid transaction: an array; send an object"));
    }
    let request: Request = serde_json::from_slice(&body)
        .map_err(|error| Problem::bad_request(format!("invalid transaction: {error}")))?;
    let txn = request.txn()?;
    let reads = |side: &[Op]| side.iter().filter(|op| matches!(op, Op::Range(_))).count();
    let cost = 1 + reads(&txn.success).max(reads(&txn.failure));
    let _permit = api.concurrency.txn.acquire_many(cost as u32).await?;
    let done = Done::try_from(api.node.execute(Command::new(txn)).await?)?;
    let revision = done.revision;
    let txn = match done.result {
        Some(RequestResult::Txn(txn)) => txn,
        Some(_) => {
            let detail = "internal error: unexpected result type; report this as a bug";
            let problem = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail);
            return Err(problem.with_unknown_outcome());
        }
        None => return Ok(without_result(revision)),
    };
    let answer = body::large_json(move || TxnResponse {
        revision,
        succeeded: txn.succeeded,
        results: txn.results.into_iter().map(OpOutcome::from).collect(),
    });
    // The transaction is applied, even if its response cannot be built.
    let answer = answer.await.map_err(Problem::with_unknown_outcome)?;
    Ok(with_revision(answer, revision))
}

impl Request {
    fn txn(self) -> Result<Txn, Problem> {
        for side in [&self.success, &self.failure] {
            let gets = side.iter().filter(|operation| matches!(operation, Operation::Get(_)));
            if gets.count() > GETS_MAX {
                return Err(Problem::bad_request(format!(
                    "too many gets in a transaction; use at most {GETS_MAX}"
                )));
            }
        }
        let compare = self.compare.into_iter().map(Condition::compare);
        let success = self.success.into_iter().map(Operation::op);
        let failure = self.failure.into_iter().map(Operation::op);
        Ok(Txn {
            compare: compare.collect::<Result<_, _>>()?,
            success: success.collect::<Result<_, _>>()?,
            failure: failure.collect::<Result<_, _>>()?,
        })
    }
}

impl Condition {
    fn compare(self) -> Result<Compare, Problem> {
        let key = bytes(self.key, self.key_base64, "key")?;
        let text = |text: String| Ok(Operand::Value(text.into()));
        let base64 = |text: String| Ok(Operand::Value(decoded(&text, "value_base64")?.into()));
        let mut stated = [
            self.value.map(|value| value.operand(text)),
            self.value_base64.map(|value| value.operand(base64)),
            self.version.map(|number| number.operand(|n| Ok(Operand::Version(n)))),
            self.create_revision.map(|number| number.operand(|n| Ok(Operand::CreateRevision(n)))),
            self.mod_revision.map(|number| number.operand(|n| Ok(Operand::ModRevision(n)))),
        ]
        .into_iter()
        .flatten();
        match (stated.next(), stated.next()) {
            (Some(only), None) => {
                let (relation, operand) = only?;
                Ok(Compare::key(key, relation, operand))
            }
            _ => Err(Problem::bad_request(
                "invalid condition; give exactly one of value, value_base64, version, \
                 create_revision and mod_revision",
            )),
        }
    }
}

impl<T> CompareTarget<T> {
    fn operand(
        self,
        operand: impl FnOnce(T) -> Result<Operand, Problem>,
    ) -> Result<(Relation, Operand), Problem> {
        let (relation, with) = match self {
            Self::Equal(with) => (Relation::Equal, with),
            Self::NotEqual(with) => (Relation::NotEqual, with),
            Self::Greater(with) => (Relation::Greater, with),
            Self::Less(with) => (Relation::Less, with),
        };
        Ok((relation, operand(with)?))
    }
}

impl Operation {
    fn op(self) -> Result<Op, Problem> {
        Ok(match self {
            Self::Put(pair) => Op::Put(Put::new(
                bytes(pair.key, pair.key_base64, "key")?,
                bytes(pair.value, pair.value_base64, "value")?,
            )),
            Self::Get(key) => Op::Range(RangeRequest::new(key.range()?)),
            Self::Delete(key) => Op::Delete(Delete::new(key.range()?)),
        })
    }
}

impl Key {
    fn range(self) -> Result<KeyRange, Problem> {
        bytes(self.key, self.key_base64, "key").map(KeyRange::key)
    }
}

impl From<OpResult> for OpOutcome {
    fn from(result: OpResult) -> Self {
        match result {
            OpResult::Put(_) => Self::Put {},
            OpResult::Delete(result) => Self::Delete { deleted: result.deleted },
            OpResult::Range(found) => {
                Self::Get { kv: found.kvs.into_iter().next().map(Item::from) }
            }
        }
    }
}

fn bytes(text: Option<String>, base64: Option<String>, what: &str) -> Result<Vec<u8>, Problem> {
    match (text, base64) {
        (Some(text), None) => Ok(text.into_bytes()),
        (None, Some(base64)) => decoded(&base64, &format!("{what}_base64")),
        _ => Err(Problem::bad_request(format!(
            "invalid {what}; give exactly one of {what} and {what}_base64"
        ))),
    }
}

fn decoded(base64: &str, what: &str) -> Result<Vec<u8>, Problem> {
    let wrong = |error| {
        Problem::bad_request(format!("invalid base64 in {what}: {error}; fix the encoding"))
    };
    BASE64_STANDARD.decode(base64).map_err(wrong)
}
