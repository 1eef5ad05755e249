//! What clients ask of a node, whether it leads or not.

mod session;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use raft_core::{LogIndex, NodeId, Payload, Role};
use raft_kv::{
    Command, CountMode, KeyRange, Limits, Outcome, RangeRequest, RangeResponse, Request,
    ValidateError, View,
};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use crate::client::session::Sessions;
use crate::config::NodeConfig;
use crate::config::node_names::NodeNames;
use crate::consensus::apply_thread::ProposalOutcome;
use crate::consensus::{Input, ReadReply, StateSummary};
use crate::observe::event_log::{Detail, EventLog, Subscription, TooManySubscribers};
use crate::observe::health::{Health, NotReady};
use crate::observe::status::{ClusterMember, FollowerView, LogEntry, NodeStatus, role_name};
use crate::observe::timings::Timings;
use crate::peer::{Answer, Call, CallError, Peers, Question, Refusal, Reply};
use crate::storage::{LogStore, StateStore};

/// A running node as clients use it.
#[derive(Clone)]
pub struct Handle {
    inner: Arc<HandleInner>,
    sessions: Sessions,
    stopping: Arc<AtomicBool>,
    /// Reads of the disk, which block their thread.
    disk_reads: Arc<Semaphore>,
    /// Set when the node is about to stop. Requests are still answered.
    draining: Arc<AtomicBool>,
    /// Counts the log lines that were dropped, if the process can drop any.
    dropped_log_lines: Arc<OnceLock<DroppedLines>>,
}

type DroppedLines = Box<dyn Fn() -> u64 + Send + Sync>;

pub(crate) struct HandleInner {
    pub(crate) config: NodeConfig,
    pub(crate) inputs: mpsc::Sender<Input>,
    pub(crate) peers: Peers,
    pub(crate) summary: watch::Receiver<StateSummary>,
    pub(crate) applied: watch::Receiver<u64>,
    pub(crate) health: Arc<Health>,
    pub(crate) state: StateStore,
    pub(crate) log: LogStore,
    pub(crate) journal: EventLog,
    pub(crate) names: NodeNames,
    pub(crate) timings: Timings,
}

/// How fresh a read has to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Consistency {
    /// It sees every write that was answered before it began.
    #[default]
    Linearizable,
    /// It sees what this node has applied, which may be behind.
    Stale,
}

/// Why a request was not answered as asked.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request makes no sense. It was not done.
    #[error("{0}")]
    Invalid(String),
    /// A key, a value or the whole request is too large. It was not done.
    #[error("{0}")]
    TooLarge(String),
    /// The state machine cannot be read.
    #[error("the store cannot be read: {0}")]
    Storage(String),
    /// The node did not apply in time what a read must see. It was not done.
    #[error("this node is behind by {entries} entries; use another node, or retry later")]
    Behind {
        /// Committed entries that the node lacks.
        entries: u64,
    },
    /// There was no leader in time. It was not done.
    #[error("no leader is known: the cluster has no majority, or is about to elect; try again")]
    NoLeader,
    /// It was not done.
    #[error("too much is under way: try again later")]
    Overloaded,
    /// It was not done.
    #[error("this node is stopping: ask another one")]
    Stopping,
    /// A write was sent to the leader, and no answer came in time.
    #[error("no answer in time: the write may have been done, or be done later, or not")]
    Unknown,
}

impl RequestError {
    /// Whether the request certainly was not carried out, so that repeating it is safe.
    #[must_use]
    pub fn is_definite(&self) -> bool {
        !matches!(self, Self::Unknown)
    }
}

/// How long to wait before asking again who leads.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);
/// Reads of the disk at a time. Each holds a thread, and up to 4 MiB.
const DISK_READS_MAX: usize = 16;
/// How long a peer may take to tell its status.
const STATUS_TIMEOUT: Duration = Duration::from_millis(500);

/// What one attempt to carry out a command brought.
enum Attempt {
    Done(Outcome),
    /// It certainly was not done; another attempt is safe.
    NotDone(RequestError),
    MayBeDone,
}

impl Handle {
    pub(crate) fn new(parts: HandleInner) -> Self {
        Self {
            inner: Arc::new(parts),
            sessions: Sessions::default(),
            stopping: Arc::default(),
            disk_reads: Arc::new(Semaphore::new(DISK_READS_MAX)),
            draining: Arc::default(),
            dropped_log_lines: Arc::default(),
        }
    }

    /// Sets the function that counts dropped log lines for the metrics. The first call counts.
    pub fn count_dropped_log_lines(&self, count: impl Fn() -> u64 + Send + Sync + 'static) {
        let _ = self.dropped_log_lines.set(Box::new(count));
    }

    pub(crate) fn dropped_log_lines(&self) -> u64 {
        self.dropped_log_lines.get().map_or(0, |count| count())
    }

    /// Makes the node unready, so that load balancers send no more requests. The node still
    /// answers those that arrive.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The bounds of keys, values and requests.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits::default()
    }

    /// The node's configuration.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        &self.inner.config
    }

    /// Returns true if requests have a chance here.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.readiness().is_ok()
    }

    /// Checks whether the node knows a leader, is close to it, and has a disk that answers.
    ///
    /// # Errors
    ///
    /// [`NotReady`], with the reason.
    pub fn readiness(&self) -> Result<(), NotReady> {
        let glance = *self.inner.summary.borrow();
        let is_stopping = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        if glance.stopped.is_some() || is_stopping(&self.stopping) || is_stopping(&self.draining) {
            return Err(NotReady::Stopping);
        }
        if glance.leader.is_none() {
            return Err(NotReady::NoLeader);
        }
        self.inner.health.check(*self.inner.applied.borrow(), std::time::Instant::now())
    }

    pub(crate) fn leads(&self) -> bool {
        self.inner.summary.borrow().leads
    }

    /// Returns when this node leads.
    #[cfg(test)]
    pub(crate) async fn becomes_leader(&self) {
        let _ = self.inner.summary.clone().wait_for(|glance| glance.leads).await;
    }

    /// Returns when this node does not lead, or after some time.
    pub(crate) async fn leads_no_more(&self, within: Duration) {
        let mut glance = self.inner.summary.clone();
        let _ = timeout(within, glance.wait_for(|glance| !glance.leads)).await;
    }

    /// Returns when another node leads.
    pub(crate) async fn knows_other_leader(&self) {
        let mut glance = self.inner.summary.clone();
        let _ = glance.wait_for(|glance| glance.leader.is_some() && !glance.leads).await;
    }

    /// Carries out a command, at the leader wherever it is.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; [`is_definite`](RequestError::is_definite) tells whether the command may
    /// have been carried out all the same.
    pub async fn execute(&self, command: Command) -> Result<Outcome, RequestError> {
        command.validate(&self.limits()).map_err(invalid)?;
        let deadline = Instant::now() + self.inner.config.request_timeout;
        if command.session.is_some() {
            return self.send_until_answered(command, deadline).await;
        }
        loop {
            let Some(lent) = self.sessions.checkout(*self.inner.applied.borrow()) else {
                return self.send_until_answered(command, deadline).await;
            };
            let mut once = command.clone();
            once.session = Some(lent.session());
            let outcome = self.send_until_answered(once, deadline).await;
            match outcome {
                // Only so many sessions are remembered, and this one has rested for too long. What
                // came under it was refused, and is sent again under a new one.
                Ok(Outcome::SessionUnknown { since }) => {
                    lent.discard();
                    let mut applied = self.inner.applied.clone();
                    let is_applied = applied.wait_for(|applied| *applied >= since);
                    match timeout_at(deadline, is_applied).await {
                        Ok(Ok(_)) => {}
                        Ok(Err(_)) => return Err(RequestError::Stopping),
                        Err(_) => return Err(RequestError::Overloaded),
                    }
                }
                outcome => return outcome,
            }
        }
    }

    /// Sends a command to whoever leads, again if its session allows that, until there is an
    /// answer.
    async fn send_until_answered(
        &self,
        command: Command,
        deadline: Instant,
    ) -> Result<Outcome, RequestError> {
        let bytes = command.encode();
        // Once an attempt may have been carried out, no later one makes it certain that none was.
        let mut in_doubt = false;
        let failed = |in_doubt: bool, reason| {
            if in_doubt { RequestError::Unknown } else { reason }
        };
        let mut last = RequestError::NoLeader;
        while Instant::now() < deadline {
            if self.stopping.load(Ordering::Relaxed) {
                return Err(failed(in_doubt, RequestError::Stopping));
            }
            let glance = *self.inner.summary.borrow();
            let attempt = async {
                match glance.leader {
                    Some(_) if glance.leads => self.propose(bytes.clone(), deadline).await,
                    Some(leader) => self.forward(leader, bytes.clone(), deadline).await,
                    None => Attempt::NotDone(RequestError::NoLeader),
                }
            };
            let attempt = tokio::select! {
                attempt = attempt => attempt,
                // Who asked a leader that has fallen silent need not wait for it.
                () = self.leader_changed(glance) => Attempt::MayBeDone,
            };
            match attempt {
                // The earlier attempt may have been carried out before its session was forgotten.
                Attempt::Done(Outcome::SessionUnknown { .. }) if in_doubt => {
                    return Err(RequestError::Unknown);
                }
                Attempt::Done(outcome) => return Ok(outcome),
                Attempt::NotDone(RequestError::Overloaded) => {
                    return Err(failed(in_doubt, RequestError::Overloaded));
                }
                Attempt::NotDone(reason) => last = reason,
                // Under a session, a command that is sent twice is carried out once.
                Attempt::MayBeDone if command.session.is_some() => in_doubt = true,
                Attempt::MayBeDone => return Err(RequestError::Unknown),
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
        Err(failed(in_doubt, last))
    }

    /// Returns when somebody leads who did not at the glance.
    async fn leader_changed(&self, since: StateSummary) {
        let mut glance = self.inner.summary.clone();
        let moved = |now: &StateSummary| {
            now.leader.is_some() && (now.leader, now.term) != (since.leader, since.term)
        };
        if since.leader.is_none() || glance.wait_for(moved).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    async fn propose(&self, command: Bytes, deadline: Instant) -> Attempt {
        let (reply, answer) = oneshot::channel();
        let sent = timeout_at(deadline, self.inner.inputs.send(Input::Propose { command, reply }));
        match sent.await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Attempt::NotDone(RequestError::Stopping),
            Err(_) => return Attempt::NotDone(RequestError::Overloaded),
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(ProposalOutcome::Applied(outcome))) => Attempt::Done(outcome),
            Ok(Ok(ProposalOutcome::NotLeader | ProposalOutcome::Replaced)) => {
                Attempt::NotDone(RequestError::NoLeader)
            }
            Ok(Ok(ProposalOutcome::Overloaded)) => Attempt::NotDone(RequestError::Overloaded),
            Ok(Ok(ProposalOutcome::Stopped)) => Attempt::NotDone(RequestError::Stopping),
            Ok(Err(_)) | Err(_) => Attempt::MayBeDone,
        }
    }

    async fn forward(&self, leader: NodeId, command: Bytes, deadline: Instant) -> Attempt {
        let timeout = deadline.saturating_duration_since(Instant::now());
        let answer = self.inner.peers.call(leader, Question::Execute(command), timeout).await;
        match answer.map(|answer| answer.reply) {
            Ok(Some(Reply::Outcome(bytes))) => match Outcome::decode(bytes) {
                Ok(outcome) => Attempt::Done(outcome),
                Err(_) => Attempt::MayBeDone,
            },
            Ok(Some(Reply::Refused(refusal))) => {
                match Refusal::try_from(refusal).unwrap_or(Refusal::Unknown) {
                    Refusal::Unknown => Attempt::MayBeDone,
                    Refusal::Overloaded => Attempt::NotDone(RequestError::Overloaded),
                    Refusal::NotLeader | Refusal::Stopping => {
                        Attempt::NotDone(RequestError::NoLeader)
                    }
                }
            }
            Err(CallError::NotSent) => Attempt::NotDone(RequestError::NoLeader),
            Ok(_) | Err(CallError::NoAnswer) => Attempt::MayBeDone,
        }
    }

    /// Reads keys.
    ///
    /// # Errors
    ///
    /// [`RequestError`]; reading changes nothing, so asking again is always safe.
    pub async fn read(
        &self,
        request: &RangeRequest,
        consistency: Consistency,
    ) -> Result<RangeResponse, RequestError> {
        if consistency == Consistency::Linearizable {
            self.wait_until_linearizable().await?;
        }
        let (reader, request) = (self.inner.state.reader(), request.clone());
        self.read_disk(move || {
            let view = View::open(reader).map_err(|error| unreadable(&error))?;
            view.range(&request).map_err(not_found)
        })
        .await
    }

    /// Reads the disk on a thread where that may take its time.
    async fn read_disk<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, RequestError> + Send + 'static,
    ) -> Result<T, RequestError> {
        let turn = Arc::clone(&self.disk_reads).acquire_owned();
        let turn = match timeout(self.inner.config.request_timeout, turn).await {
            Ok(Ok(turn)) => turn,
            Ok(Err(_)) => return Err(RequestError::Stopping),
            Err(_) => return Err(RequestError::Overloaded),
        };
        let reading = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            read()
        });
        match reading.await {
            Ok(read) => read,
            Err(_) => Err(RequestError::Stopping),
        }
    }

    /// Reads many keys: the first ones of a range, up to `limit` of them, and no more than a few
    /// mebibytes, so that no answer takes all memory. All are read at `at_revision`, or at the
    /// revision of the response if that is `None`.
    ///
    /// # Errors
    ///
    /// [`RequestError`].
    pub async fn list(
        &self,
        keys: KeyRange,
        limit: u64,
        at_revision: Option<i64>,
        consistency: Consistency,
    ) -> Result<RangeResponse, RequestError> {
        if consistency == Consistency::Linearizable {
            self.wait_until_linearizable().await?;
        }
        let reader = self.inner.state.reader();
        self.read_disk(move || {
            let view = View::open(reader).map_err(|error| unreadable(&error))?;
            let mut keys = keys;
            let mut bytes = 0;
            let mut found =
                RangeResponse { kvs: Vec::new(), more: false, count: 0, revision: view.revision() };
            loop {
                let left = limit - found.kvs.len() as u64;
                let mut request = RangeRequest::new(keys.clone())
                    .limit(left.min(list_step(found.kvs.len(), bytes)))
                    .counting(CountMode::Returned);
                request.revision = at_revision;
                let step = view.range(&request).map_err(not_found)?;
                found.more = step.more;
                found.count += step.count;
                let size = |kv: &raft_kv::KeyValue| kv.key.len() + kv.value.len();
                bytes += step.kvs.iter().map(size).sum::<usize>();
                found.kvs.extend(step.kvs);
                let is_full = bytes >= LIST_BYTES_MAX || found.kvs.len() as u64 >= limit;
                match found.kvs.last() {
                    Some(last) if step.more && !is_full => keys.start = key_successor(&last.key),
                    _ => return Ok(found),
                }
            }
        })
        .await
    }

    /// Waits until this node has applied everything that was committed when it was called.
    async fn wait_until_linearizable(&self) -> Result<(), RequestError> {
        let deadline = Instant::now() + self.inner.config.request_timeout;
        let mut last = RequestError::NoLeader;
        while Instant::now() < deadline {
            if self.stopping.load(Ordering::Relaxed) {
                return Err(RequestError::Stopping);
            }
            let glance = *self.inner.summary.borrow();
            let index = tokio::select! {
                index = self.read_index(deadline) => index,
                () = self.leader_changed(glance) => Err(RequestError::NoLeader),
            };
            match index {
                Ok(index) => {
                    return wait_until_applied(self.inner.applied.clone(), index, deadline).await;
                }
                Err(RequestError::Overloaded) => return Err(RequestError::Overloaded),
                Err(reason) => last = reason,
            }
            tokio::time::sleep(RETRY_INTERVAL).await;
        }
        Err(last)
    }

    async fn read_index(&self, deadline: Instant) -> Result<u64, RequestError> {
        let (reply, answer) = oneshot::channel();
        let sent = timeout_at(deadline, self.inner.inputs.send(Input::Read { reply }));
        match sent.await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(RequestError::Stopping),
            Err(_) => return Err(RequestError::Overloaded),
        }
        match timeout_at(deadline, answer).await {
            Ok(Ok(ReadReply::Ready(index))) => Ok(index),
            Ok(Ok(ReadReply::Overloaded)) => Err(RequestError::Overloaded),
            Ok(Ok(ReadReply::Stopped)) => Err(RequestError::Stopping),
            Ok(Ok(ReadReply::NoLeader) | Err(_)) | Err(_) => Err(RequestError::NoLeader),
        }
    }

    /// Answers another node, from this node alone: it does not ask a third.
    pub(crate) async fn handle_peer_request(&self, call: Call) -> Answer {
        let deadline = Instant::now() + Duration::from_millis(call.patience_ms.min(60_000));
        if self.stopping.load(Ordering::Relaxed) {
            return Refusal::Stopping.into();
        }
        match call.question {
            Some(Question::Execute(command)) => match self.propose(command, deadline).await {
                Attempt::Done(outcome) => Reply::Outcome(outcome.encode()).into(),
                Attempt::NotDone(RequestError::Overloaded) => Refusal::Overloaded.into(),
                Attempt::NotDone(RequestError::Stopping) => Refusal::Stopping.into(),
                Attempt::NotDone(_) => Refusal::NotLeader.into(),
                Attempt::MayBeDone => Refusal::Unknown.into(),
            },
            Some(Question::Status(_)) => match self.status().await {
                Ok(status) => match serde_json::to_vec(&status) {
                    Ok(json) => Reply::Status(json.into()).into(),
                    Err(_) => Refusal::Unknown.into(),
                },
                Err(_) => Refusal::Stopping.into(),
            },
            Some(Question::Name(_)) | None => Refusal::Unknown.into(),
        }
    }

    /// What the node says of itself.
    ///
    /// # Errors
    ///
    /// [`RequestError::Stopping`] when the node has stopped.
    pub async fn status(&self) -> Result<NodeStatus, RequestError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.inner.inputs.send(Input::Status { reply }).await;
        sent.map_err(|_| RequestError::Stopping)?;
        let status = answer.await.map_err(|_| RequestError::Stopping)?;
        let stored = View::open(self.inner.state.reader());
        let stored = stored.map_err(|error| RequestError::Storage(error.to_string()))?;
        let follower = |follower: &raft_core::FollowerStatus| FollowerView {
            node_id: self.inner.names.get(follower.id),
            next_index: follower.next_index.0,
            match_index: follower.match_index.0,
            in_flight: follower.in_flight,
        };
        Ok(NodeStatus {
            node_id: self.inner.config.name.clone(),
            address: self.inner.config.advertise.to_string(),
            role: role_name(&status).to_owned(),
            pre_candidate: status.role == Role::PreCandidate,
            term: status.term.0,
            vote: status.vote.map(|node| self.inner.names.get(node)),
            leader: status.leader.map(|node| self.inner.names.get(node)),
            commit_index: status.commit_index.0,
            applied_index: *self.inner.applied.borrow(),
            last_index: status.last_log.index.0,
            last_term: status.last_log.term.0,
            durable_index: status.durable_index.0,
            revision: stored.revision(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            followers: status.followers.iter().map(follower).collect(),
        })
    }

    /// All members, each asked at once.
    pub async fn cluster(&self) -> Vec<ClusterMember> {
        let own = self.status().await.ok();
        let mut members = vec![ClusterMember {
            address: self.inner.config.advertise.to_string(),
            reachable: own.is_some(),
            status: own,
        }];
        let others = self.inner.peers.members().map(|(id, link)| async move {
            let answer = self.inner.peers.call(id, Question::Status(true), STATUS_TIMEOUT).await;
            let status = match answer.map(|answer| answer.reply) {
                Ok(Some(Reply::Status(json))) => serde_json::from_slice(&json).ok(),
                _ => None,
            };
            let reachable = status.is_some() && link.is_connected();
            ClusterMember { address: link.address.to_string(), reachable, status }
        });
        members.extend(futures_util::future::join_all(others).await);
        members.sort_by(|a, b| a.address.cmp(&b.address));
        members
    }

    /// Entries of the log as they are on this node's disk.
    ///
    /// # Errors
    ///
    /// [`RequestError::Storage`] if the log cannot be read.
    pub async fn log(&self, from: u64, limit: usize) -> Result<Vec<LogEntry>, RequestError> {
        const BYTES_MAX: usize = 4 << 20;
        let through = from.saturating_add(limit as u64).saturating_sub(1);
        let glance = *self.inner.summary.borrow();
        if limit == 0 || from > glance.last_index.0 {
            return Ok(Vec::new());
        }
        let log = self.inner.log.clone();
        self.read_disk(move || {
            let entries = log.read(LogIndex(from.max(1)), LogIndex(through), BYTES_MAX);
            let entries = entries.map_err(|error| RequestError::Storage(error.to_string()))?;
            let view = |entry: raft_core::Entry| {
                let (kind, key, bytes) = payload_summary(entry.payload);
                let (index, term) = (entry.id.index.0, entry.id.term.0);
                let committed = entry.id.index <= glance.commit_index;
                LogEntry { index, term, kind, key, bytes, committed }
            };
            Ok(entries.into_iter().map(view).collect())
        })
        .await
    }

    /// The latest decisions, and those to come.
    pub(crate) fn events(&self, detail: Detail) -> Result<Subscription, TooManySubscribers> {
        self.inner.journal.subscribe(detail)
    }

    /// The name of the leader that this node knows.
    #[must_use]
    pub fn leader(&self) -> Option<String> {
        self.inner.summary.borrow().leader.map(|leader| self.inner.names.get(leader))
    }

    /// How long the threads of the node take for their work.
    pub(crate) fn timings(&self) -> &Timings {
        &self.inner.timings
    }

    /// The other members, and whether there is a connection to them.
    pub(crate) fn peers(&self) -> impl Iterator<Item = (String, bool)> {
        self.inner.peers.members().map(|(_, link)| (link.address.to_string(), link.is_connected()))
    }
}

/// Waits until the state machine has applied the log up to an index.
async fn wait_until_applied(
    mut applied: watch::Receiver<u64>,
    index: u64,
    deadline: Instant,
) -> Result<(), RequestError> {
    let waited = timeout_at(deadline, applied.wait_for(|applied| *applied >= index)).await;
    match waited.map(|waited| waited.is_ok()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(RequestError::Stopping),
        Err(_) => {
            let entries = index.saturating_sub(*applied.borrow());
            Err(RequestError::Behind { entries })
        }
    }
}

/// Keys that are read at once for a list.
const LIST_STEP_MAX: u64 = 16;
/// A list ends with the step in which it exceeds this many bytes.
const LIST_BYTES_MAX: usize = 4 << 20;

/// Returns how many keys to read next, after this many keys with this many bytes. Without this, a
/// step of large values would make a list several times too large.
fn list_step(keys: usize, bytes: usize) -> u64 {
    let fitting = LIST_BYTES_MAX.saturating_sub(bytes) * keys / bytes.max(1);
    (fitting as u64).clamp(1, LIST_STEP_MAX)
}

/// The least key after another one.
pub(crate) fn key_successor(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
}

fn unreadable(error: &impl std::fmt::Display) -> RequestError {
    RequestError::Storage(error.to_string())
}

fn not_found<E: std::fmt::Display>(error: raft_kv::ReadError<E>) -> RequestError
where
    raft_kv::ReadError<E>: std::fmt::Display,
{
    match error {
        raft_kv::ReadError::Fault(fault) => RequestError::Storage(fault.to_string()),
        raft_kv::ReadError::KeyTooLong => RequestError::TooLarge(error.to_string()),
        other => RequestError::Invalid(other.to_string()),
    }
}

fn invalid(error: ValidateError) -> RequestError {
    match error {
        ValidateError::Malformed(_) => RequestError::Invalid(error.to_string()),
        ValidateError::KeyTooLong { .. }
        | ValidateError::ValueTooLong { .. }
        | ValidateError::TooManyOps { .. }
        | ValidateError::RequestTooLarge { .. } => RequestError::TooLarge(error.to_string()),
    }
}

fn payload_summary(payload: Payload) -> (&'static str, Option<String>, usize) {
    let bytes = match payload {
        Payload::Noop => return ("noop", None, 0),
        Payload::Membership(_) => return ("membership", None, 0),
        Payload::Stripped => return ("withheld", None, 0),
        Payload::Command(bytes) => bytes,
    };
    let length = bytes.len();
    let text = |key: &Bytes| Some(String::from_utf8_lossy(key).into_owned());
    match Command::decode(bytes).map(|command| command.request) {
        Ok(Request::Put(put)) => ("put", text(&put.key), length),
        Ok(Request::Delete(delete)) => ("delete", text(&delete.keys.start), length),
        Ok(Request::Txn(_)) => ("txn", None, length),
        Ok(Request::Grant(_)) => ("lease-grant", None, length),
        Ok(Request::Revoke(_)) => ("lease-revoke", None, length),
        Err(_) => ("unknown", None, length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_of_large_values_ends_near_its_limit() {
        for value in [10, 10_000, 118_000, 700_000, 1 << 20] {
            let (mut keys, mut bytes) = (0, 0);
            while bytes < LIST_BYTES_MAX && keys < 1000 {
                let step = list_step(keys, bytes) as usize;
                (keys, bytes) = (keys + step, bytes + step * value);
            }
            assert!(bytes < LIST_BYTES_MAX + value, "{keys} values of {value} bytes");
        }
        assert_eq!(list_step(10, 100), LIST_STEP_MAX);
    }

    #[tokio::test]
    async fn linearizable_read_of_lagging_node_says_how_far_it_is_behind() {
        let (sender, applied) = watch::channel(846);
        let now = Instant::now();
        let behind = wait_until_applied(applied.clone(), 1_000, now).await.unwrap_err();
        assert_eq!(behind, RequestError::Behind { entries: 154 });
        assert!(behind.to_string().contains("behind by 154 entries") && behind.is_definite());
        sender.send_replace(1_000);
        assert_eq!(wait_until_applied(applied, 1_000, now).await, Ok(()));
    }
}
