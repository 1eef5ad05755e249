//! Many clients at once, whose every answer is recorded.
//!
//! Some contend for few keys with all operations there are: that is what the judgement of a history
//! needs. Others write each key once: of those it can be said of every single one whether it is
//! still there.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use raft_sim::linearizability::{Call, HistoryOperation};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::grpc::Grpc;
use crate::history::History;
use crate::kv::{Client, Outcome, Versioned};
use crate::rest::Rest;
use crate::wait::until;

/// Few, so that operations on one key overlap; enough that the unanswered ones spread out.
const CONTENDED_KEYS: u32 = 8;
const CONTENDERS: u64 = 6;
const WRITERS: u64 = 4;
/// A client gives up on an answer after this long, and asks another node. Longer than an election:
/// most requests that meet one are answered by the new leader.
const PATIENCE: Duration = Duration::from_secs(3);
/// A client stays with a node for about this many answers, so that none is spared for long.
const STAY: u32 = 50;
/// Before a client that was refused asks again.
const PAUSE: Duration = Duration::from_millis(10);

/// Clients at work. When dropped they stop at once.
pub struct Workload {
    history: Arc<History>,
    stop: watch::Sender<bool>,
    clients: JoinSet<Result<()>>,
}

impl Workload {
    /// Sets clients to work on the nodes with these ports. `seed` decides who does what, though not
    /// when.
    #[must_use]
    pub fn start(ports: &[u16], seed: u64) -> Self {
        let history = Arc::new(History::default());
        let (stop, _) = watch::channel(false);
        let mut clients = JoinSet::new();
        for id in 0..CONTENDERS + WRITERS {
            let mut worker = Worker {
                id,
                ports: ports.to_vec(),
                next: usize::try_from(id).unwrap_or_default(),
                client: None,
                written: 0,
                random: Xoshiro256PlusPlus::seed_from_u64(seed ^ (id << 32)),
                history: Arc::clone(&history),
            };
            let mut stopped = stop.subscribe();
            clients.spawn(async move {
                while !*stopped.borrow_and_update() {
                    if id < CONTENDERS {
                        worker.contend().await?;
                    } else {
                        worker.write_once().await?;
                    }
                }
                Ok(())
            });
        }
        Self { history, stop, clients }
    }

    /// The record so far.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Waits until this many more operations have been answered.
    ///
    /// # Errors
    ///
    /// If that takes too long, or a client gave up.
    pub async fn progress(&mut self, more: usize, within: Duration) -> Result<()> {
        let enough = self.history.answered() + more;
        let waited = until("clients get answers", within, async || {
            Ok((self.history.answered() >= enough).then_some(()))
        })
        .await;
        if let Some(ended) = self.clients.try_join_next() {
            ended.context("a client panicked")??;
            bail!("a client stopped by itself");
        }
        waited
    }

    /// Lets all clients finish what they are at.
    ///
    /// # Errors
    ///
    /// If one of them met what should not be.
    pub async fn stop(mut self) -> Result<Arc<History>> {
        self.stop.send_replace(true);
        while let Some(ended) = self.clients.join_next().await {
            ended.context("a client panicked")??;
        }
        Ok(self.history)
    }
}

struct Worker {
    id: u64,
    ports: Vec<u16>,
    /// Whose turn it is, as an index that only grows.
    next: usize,
    client: Option<Client>,
    written: u64,
    random: Xoshiro256PlusPlus,
    history: Arc<History>,
}

impl Worker {
    /// One operation, or a read and a conditional write, on one of few keys.
    async fn contend(&mut self) -> Result<()> {
        let key = format!("contended/{}", self.random.next_u32() % CONTENDED_KEYS);
        match self.random.next_u32() % 100 {
            0..30 => self.put(key).await,
            30..70 => self.get(&key).await.map(drop),
            70..80 => self.delete(key).await,
            _ => match self.get(&key).await? {
                Some(found) => self.swap(key, found).await,
                None => Ok(()),
            },
        }
    }

    async fn write_once(&mut self) -> Result<()> {
        self.put(format!("once/{}/{:08}", self.id, self.written)).await
    }

    async fn put(&mut self, key: String) -> Result<()> {
        let value = self.new_value();
        let Some(mut client) = self.client().await? else {
            return Ok(());
        };
        let invoked = self.history.now();
        let outcome = client.put(&key, &value).await;
        self.note(client, key, invoked, outcome, |_| Call::Put { value });
        self.pause_if_refused().await;
        Ok(())
    }

    async fn delete(&mut self, key: String) -> Result<()> {
        let Some(mut client) = self.client().await? else {
            return Ok(());
        };
        let invoked = self.history.now();
        let outcome = client.delete(&key).await;
        self.note(client, key, invoked, outcome, |_| Call::Delete);
        self.pause_if_refused().await;
        Ok(())
    }

    /// What was found, if it was found out.
    async fn get(&mut self, key: &str) -> Result<Option<Versioned>> {
        let Some(mut client) = self.client().await? else {
            return Ok(None);
        };
        let invoked = self.history.now();
        let outcome = client.get(key).await;
        let found = match &outcome {
            Outcome::Done(found) => found.clone(),
            _ => None,
        };
        self.note(client, key.to_owned(), invoked, outcome, |found| Call::Get {
            found: found.flatten().map(|found| found.value),
        });
        self.pause_if_refused().await;
        Ok(found)
    }

    /// The condition is a revision. Values are never written twice, so the value that was read says
    /// the same.
    async fn swap(&mut self, key: String, found: Versioned) -> Result<()> {
        let value = self.new_value();
        let Some(mut client) = self.client().await? else {
            return Ok(());
        };
        let invoked = self.history.now();
        let outcome = client.put_if_unchanged(&key, &value, found.revision).await;
        self.note(client, key, invoked, outcome, |succeeded| Call::Cas {
            expected: Some(found.value),
            value,
            succeeded: succeeded.unwrap_or(false),
        });
        self.pause_if_refused().await;
        Ok(())
    }

    fn new_value(&mut self) -> String {
        self.written += 1;
        format!("{}-{}", self.id, self.written)
    }

    /// Records how an operation came out. The client is mostly kept for as long as it gets answers;
    /// after that it's another node's turn.
    fn note<T>(
        &mut self,
        client: Client,
        key: String,
        invoked: u64,
        outcome: Outcome<T>,
        call: impl FnOnce(Option<T>) -> Call,
    ) {
        let (answer, returned) = match outcome {
            Outcome::Done(answer) => (Some(answer), Some(self.history.now())),
            Outcome::Unknown(_) => (None, None),
            Outcome::NotDone(_) => return,
        };
        if returned.is_some() && !self.random.next_u32().is_multiple_of(STAY) {
            self.client = Some(client);
        }
        self.history.record(HistoryOperation {
            client: self.id,
            key,
            call: call(answer),
            invoked,
            returned,
        });
    }

    async fn pause_if_refused(&self) {
        if self.client.is_none() {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Every third client speaks gRPC. None if the node whose turn it was is not there.
    async fn client(&mut self) -> Result<Option<Client>> {
        if let Some(client) = self.client.take() {
            return Ok(Some(client));
        }
        let port = self.ports[self.next % self.ports.len()];
        self.next += 1;
        if !self.speaks_grpc() {
            return Ok(Some(Client::Rest(Rest::new(port, PATIENCE))));
        }
        match Grpc::connect(port, PATIENCE).await {
            Ok(grpc) => Ok(Some(Client::Grpc(grpc))),
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                Ok(None)
            }
        }
    }

    fn speaks_grpc(&self) -> bool {
        self.id % 3 == 2
    }
}
