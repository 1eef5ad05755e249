mod answer_limit;
mod changes;
mod codec;
mod cost;
mod crash;
mod history;
mod lease;
mod lease_keys;
mod lessor;
mod log;
mod model;
mod properties;
mod session;
mod strategy;
mod txn;
mod validation;

use alloc::vec::Vec;

use crate::{Command, Entry, Kv, MemoryStore, Outcome, Request, RequestResult, Response};

/// A pair: key, value, creation revision, last revision, version.
type Row = (Vec<u8>, Vec<u8>, i64, i64, i64);

/// A state machine with methods to apply commands.
struct Log {
    kv: Kv<MemoryStore>,
}

impl Log {
    fn new() -> Self {
        Self { kv: Kv::open(MemoryStore::new()).unwrap() }
    }

    fn apply(&mut self, command: &Command) -> Outcome {
        let entry = Entry::command(self.kv.applied_index() + 1, 1, command.encode());
        let outcome = self.kv.apply(entry).unwrap();
        self.kv.audit().unwrap();
        outcome
    }

    fn run(&mut self, request: impl Into<Request>) -> Response {
        match self.apply(&Command::new(request)) {
            Outcome::Done(response) => response,
            other => panic!("refused: {other:?}"),
        }
    }

    /// All pairs at a revision.
    fn all(&self, revision: Option<i64>) -> Vec<Row> {
        let mut request = crate::RangeRequest::new(crate::KeyRange::all());
        request.revision = revision;
        self.kv
            .range(&request)
            .unwrap()
            .kvs
            .into_iter()
            .map(|kv| {
                (
                    kv.key.to_vec(),
                    kv.value.to_vec(),
                    kv.create_revision,
                    kv.mod_revision,
                    kv.version,
                )
            })
            .collect()
    }
}

fn txn_of(response: Response) -> crate::TxnResult {
    match response.result {
        RequestResult::Txn(txn) => txn,
        other => panic!("not a transaction: {other:?}"),
    }
}
