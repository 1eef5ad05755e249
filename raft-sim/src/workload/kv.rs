//! Clients: what they ask, whom, how often, and what they remember of the answers.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft_core::ReadMode;
use raft_kv::{
    Command, Compare, Delete, KeyRange, Op, Operand, Outcome, Put, RangeResponse, Relation,
    RequestResult, Session, Txn,
};

use crate::linearizability::Prefix;
use crate::node::{Arrival, Node, Reading, RequestId};
use crate::story::Happening;
use crate::util::cow::CowMap;
use crate::workload::lease::is_holders;
use crate::workload::txn::is_traders;
use crate::workload::txn_ops::check_revision_order;
use crate::world::action::Request;
use crate::world::{Event, World, note};

/// Something that a client asked for.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Operation {
    /// Its number.
    pub id: u64,
    /// Whose it is. What a person asks for has a client of its own.
    pub client: u64,
    /// What was asked for.
    pub request: Request,
    /// When.
    pub invoked: u64,
    /// When the answer came.
    pub returned: Option<u64>,
    /// How it stands.
    pub state: OperationState,
    /// How often it was sent.
    pub attempts: u64,
    /// The node that was asked last.
    pub node: u64,
    #[serde(skip)]
    since: u64,
    /// The latest revision that anybody had been told of when it was asked for.
    #[serde(skip)]
    floor: i64,
}

/// How a client's request stands.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum OperationState {
    /// No answer yet.
    Waiting,
    /// It was done.
    Done {
        /// What was read, for a read.
        found: Option<String>,
        /// Whether the condition held, for a compare-and-set.
        succeeded: bool,
    },
    /// The client gave up. It may have been done or be done later, or not.
    Unknown,
}

/// Something on its way between a client and a node.
#[derive(Clone, Debug)]
pub(crate) struct ClientMessage {
    pub(crate) asked: RequestId,
    pub(crate) node: u64,
    /// The answer; none on the way to the node.
    pub(crate) answer: Option<ClientResponse>,
    pub(crate) sent_at: u64,
    pub(crate) arrives_at: u64,
}

/// What a node says to a client.
#[derive(Clone, Debug)]
pub(crate) enum ClientResponse {
    /// The command was applied.
    Applied(Outcome),
    /// The value of a key.
    Found(Option<String>),
    /// Another entry was committed in the command's place: it was certainly not done.
    Replaced,
    /// It was certainly not done; ask another node.
    Redirect(Option<u64>),
    /// Whether a lease is kept alive; if not, it is gone.
    Kept(bool),
    /// What several keys hold, or held, on this server.
    Seen(RangeResponse),
}

#[derive(Clone, Debug)]
pub(crate) struct Clients {
    pub(crate) askings: CowMap<u64, Operation>,
    /// The requests that are no longer kept, and what traders did at the same time.
    pub(crate) forgotten: Prefix,
    pub(crate) letters: BTreeMap<u64, ClientMessage>,
    next_asking: u64,
    next_letter: u64,
    next_value: u64,
    /// What each client that works by itself is doing.
    busy: BTreeMap<u64, Option<u64>>,
    believed_leader: Option<u64>,
    /// The latest revision that anybody was answered with.
    pub(crate) told: i64,
    pub(crate) stopped: bool,
}

/// A client gives up after this many attempts.
const ATTEMPTS_MAX: u64 = 12;
/// How long a client waits before it asks again, if nobody knows a leader.
const NO_LEADER_RETRY_DELAY: u64 = 50_000;

impl Clients {
    pub(crate) fn new(count: u64) -> Self {
        Self {
            askings: CowMap::default(),
            forgotten: Prefix::default(),
            letters: BTreeMap::new(),
            next_asking: 1,
            next_letter: 1,
            next_value: 1,
            busy: (1..=count).map(|client| (client, None)).collect(),
            believed_leader: None,
            told: 0,
            stopped: false,
        }
    }

    pub(crate) fn post(&mut self, letter: ClientMessage) -> u64 {
        let id = self.next_letter;
        self.next_letter += 1;
        self.letters.insert(id, letter);
        id
    }
}

impl World {
    /// What clients have asked for, in order. Old requests that are finished may be gone.
    pub fn askings(&self) -> impl DoubleEndedIterator<Item = &Operation> {
        self.clients.askings.values()
    }

    /// A client's request.
    #[must_use]
    pub fn asking(&self, id: u64) -> Option<&Operation> {
        self.clients.askings.get(&id)
    }

    /// A client asks for something, first at the node `via`.
    pub(crate) fn ask(&mut self, client: Option<u64>, via: Option<u64>, request: Request) -> u64 {
        let id = self.clients.next_asking;
        self.clients.next_asking += 1;
        let since =
            self.nodes.iter().filter_map(Node::running).map(|running| running.kv.applied_index());
        let asking = Operation {
            id,
            client: client.unwrap_or(1000 + id),
            request,
            invoked: self.now,
            returned: None,
            state: OperationState::Waiting,
            attempts: 0,
            node: 0,
            since: since.max().unwrap_or(0),
            floor: self.clients.told,
        };
        self.story.client(self.now, None, || Happening::Asked {
            operation: id,
            request: asking.request.clone(),
        });
        self.clients.askings.insert(id, asking);
        self.forget_finished(id);
        let node = via.or(self.clients.believed_leader);
        self.attempt(id, node);
        id
    }

    /// Sends a request to a node, or to any node.
    fn attempt(&mut self, operation: u64, node: Option<u64>) {
        let node = node.unwrap_or_else(|| self.random.within(1..=self.config.nodes));
        let Some(asking) = self.clients.askings.get_mut(&operation) else {
            return;
        };
        asking.attempts += 1;
        asking.node = node;
        let asked = RequestId { operation, attempt: asking.attempts };
        let arrives_at = self.now + self.random.sample(self.network.latency);
        self.post(ClientMessage { asked, node, answer: None, sent_at: self.now, arrives_at });
        self.schedule(self.now + self.config.request_timeout, Event::AttemptTimesOut(asked));
    }

    pub(crate) fn send_answer(&mut self, node: u64, asked: RequestId, answer: ClientResponse) {
        let arrives_at = self.now + self.random.sample(self.network.latency);
        self.post(ClientMessage {
            asked,
            node,
            answer: Some(answer),
            sent_at: self.now,
            arrives_at,
        });
    }

    pub(crate) fn letter_arrives(&mut self, id: u64) {
        let Some(letter) = self.clients.letters.remove(&id) else {
            return;
        };
        if self.random.chance_per_mille(self.network.loss_per_mille) {
            return;
        }
        match letter.answer {
            None => self.arrive(letter.node, Arrival::Request(letter.asked)),
            Some(answer) if is_holders(letter.asked) => {
                self.on_lease_response(letter.node, letter.asked, &answer);
            }
            Some(answer) if is_traders(letter.asked) => {
                self.trader_is_answered(letter.node, letter.asked, &answer);
            }
            Some(answer) => self.take_answer(letter.node, letter.asked, answer),
        }
    }

    /// A node takes a client's request.
    pub(crate) fn handle_client_request(&mut self, node: u64, asked: RequestId) {
        if is_holders(asked) {
            return self.handle_lease_request(node, asked);
        }
        if is_traders(asked) {
            return self.serve_trader(node, asked);
        }
        let Some(asking) = self.clients.askings.get(&asked.operation) else {
            return;
        };
        let request = asking.request.clone();
        let session = Session { client: u128::from(asking.id), sequence: 1, since: asking.since };
        let mut redirect = None;
        let mode = match self.config.lease_drift_ppm {
            Some(_) => ReadMode::Lease,
            None => ReadMode::Quorum,
        };
        self.with_running(node, |running, now| match command(&request) {
            None => match running.raft.read(mode, now) {
                Ok(read) => {
                    running.reads.insert(read, (asked, Reading::Get(request)));
                }
                Err(_) => redirect = Some(running.raft.leader()),
            },
            Some(command) => {
                let bytes: Bytes = command.with_session(session).encode();
                match running.raft.propose(bytes, now) {
                    Ok(entry) => {
                        running.proposals.insert(entry.index, (entry.term, asked));
                    }
                    Err(_) => redirect = Some(running.raft.leader()),
                }
            }
        });
        if let Some(leader) = redirect {
            let leader = leader.map(|leader| leader.0).filter(|leader| *leader != node);
            self.send_answer(node, asked, ClientResponse::Redirect(leader));
        }
    }

    fn take_answer(&mut self, node: u64, asked: RequestId, answer: ClientResponse) {
        let Some(asking) = self.clients.askings.get(&asked.operation) else {
            return;
        };
        if asking.state != OperationState::Waiting {
            return;
        }
        let current = asking.attempts == asked.attempt;
        let done = match answer {
            ClientResponse::Found(found) => OperationState::Done { found, succeeded: true },
            ClientResponse::Applied(Outcome::Done(response)) => {
                let judged = check_revision_order(asking.floor, &response);
                note(&mut self.violation, self.now, judged);
                self.clients.told = self.clients.told.max(response.revision);
                let succeeded = match response.result {
                    RequestResult::Txn(txn) => txn.succeeded,
                    _ => true,
                };
                OperationState::Done { found: None, succeeded }
            }
            ClientResponse::Applied(_) => OperationState::Unknown,
            ClientResponse::Replaced if current => return self.retry(asked, Some(0)),
            ClientResponse::Redirect(Some(leader)) if current => {
                self.clients.believed_leader = Some(leader);
                return self.retry(asked, None);
            }
            ClientResponse::Redirect(None) if current => {
                self.clients.believed_leader = None;
                return self.retry(asked, Some(NO_LEADER_RETRY_DELAY));
            }
            ClientResponse::Replaced
            | ClientResponse::Redirect(_)
            | ClientResponse::Kept(_)
            | ClientResponse::Seen(_) => return,
        };
        self.clients.believed_leader = Some(node);
        self.finish(asked.operation, done);
    }

    /// Asks again after a while, or at once.
    fn retry(&mut self, asked: RequestId, after: Option<u64>) {
        match after {
            None => self.on_retry_timer(asked),
            Some(after) => {
                self.schedule(self.now + after, Event::AttemptAgain(asked));
            }
        }
    }

    pub(crate) fn on_retry_timer(&mut self, asked: RequestId) {
        if is_holders(asked) {
            return self.retry_lease_op(asked);
        }
        if is_traders(asked) {
            return self.trader_tries_again(asked);
        }
        let asking = self.clients.askings.get(&asked.operation);
        let Some(asking) = asking.filter(|asking| asking.attempts == asked.attempt) else {
            return;
        };
        if asking.state != OperationState::Waiting {
            return;
        }
        if asking.attempts >= ATTEMPTS_MAX {
            return self.finish(asked.operation, OperationState::Unknown);
        }
        let node = self.clients.believed_leader;
        self.attempt(asked.operation, node);
    }

    pub(crate) fn on_attempt_timeout(&mut self, asked: RequestId) {
        if is_holders(asked) {
            return self.on_lease_op_timeout(asked);
        }
        if is_traders(asked) {
            return self.trader_waited_in_vain(asked);
        }
        let asking = self.clients.askings.get(&asked.operation);
        let timed_out = |asking: &&Operation| {
            asking.attempts == asked.attempt && asking.state == OperationState::Waiting
        };
        if asking.filter(timed_out).is_some() {
            self.clients.believed_leader = None;
            self.on_retry_timer(asked);
        }
    }

    fn finish(&mut self, operation: u64, state: OperationState) {
        let now = self.now;
        let Some(asking) = self.clients.askings.get_mut(&operation) else {
            return;
        };
        asking.returned = matches!(state, OperationState::Done { .. }).then_some(now);
        asking.state = state;
        let (client, node) = (asking.client, asking.node);
        self.story.client(now, Some(node), || Happening::Answered {
            operation,
            request: asking.request.clone(),
            state: asking.state.clone(),
        });
        if let Some(busy) = self.clients.busy.get_mut(&client) {
            *busy = None;
            let at = now + self.random.sample(self.config.think_time);
            self.schedule(at, Event::ClientWakes(client));
        }
    }

    pub(crate) fn schedule_clients(&mut self) {
        for client in 1..=self.config.clients {
            let at = self.now + self.random.sample(self.config.think_time);
            self.schedule(at, Event::ClientWakes(client));
        }
    }

    /// A client that works by itself asks for something.
    pub(crate) fn on_client_timer(&mut self, client: u64) {
        if self.clients.stopped {
            return;
        }
        let key = format!("k{}", self.random.below(self.config.key_count.max(1)) + 1);
        let value = format!("v{}", self.clients.next_value);
        self.clients.next_value += 1;
        let request = match self.random.below(10) {
            0..4 => Request::Put { key, value },
            4..8 => Request::Get { key },
            8 => Request::Delete { key },
            _ => {
                let recent = self.clients.next_value.saturating_sub(self.random.below(10) + 1);
                let expected = (recent > 0).then(|| format!("v{recent}"));
                Request::Cas { key, expected, value }
            }
        };
        // Now and then a client does not know better and asks anybody.
        let via =
            self.random.chance_per_mille(200).then(|| self.random.within(1..=self.config.nodes));
        let asking = self.ask(Some(client), via, request);
        self.clients.busy.insert(client, Some(asking));
    }
}

/// The command of a write; none for a read.
fn command(request: &Request) -> Option<Command> {
    let bytes = |text: &String| Bytes::from(text.clone().into_bytes());
    Some(match request {
        Request::Get { .. } => return None,
        Request::Put { key, value } => Command::new(Put::new(bytes(key), bytes(value))),
        Request::Delete { key } => Command::new(Delete::new(KeyRange::key(bytes(key)))),
        Request::Cas { key, expected, value } => {
            let (relation, operand) = match expected {
                Some(expected) => (Relation::Equal, Operand::Value(bytes(expected))),
                None => (Relation::Equal, Operand::Version(0)),
            };
            Command::new(Txn {
                compare: vec![Compare::key(bytes(key), relation, operand)],
                success: vec![Op::Put(Put::new(bytes(key), bytes(value)))],
                failure: Vec::new(),
            })
        }
    })
}
