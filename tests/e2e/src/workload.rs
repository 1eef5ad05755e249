//! A workload of parallel clients. All operations are recorded.
//!
//! Some clients use all operations on few keys, as a check for linearizability requires. Other
//! clients write each key once, so that each acknowledged write can be checked by itself.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use raft_history::linearizability::{Call, HistoryOperation};
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::grpc::Grpc;
use crate::history::History;
use crate::http::HttpClient;
use crate::kv::{Client, Outcome, Versioned};
use crate::wait::until;

/// The number of contended keys. It is small, so that operations on one key are concurrent.
const CONTENDED_KEYS: u32 = 8;
/// The number of clients of contended keys.
const CONTENDERS: u64 = 6;
/// The number of clients that write each key once.
const WRITERS: u64 = 4;
/// The timeout of a request. The client then uses another node. It is longer than an election, so
/// most requests during an election receive a response of the new leader.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The average number of responses after which a client changes to another node.
const STAY: u32 = 50;
/// The pause of a client after a rejected request.
const PAUSE: Duration = Duration::from_millis(10);

/// Running clients. Dropping the value stops them at once.
pub struct Workload {
    history: Arc<History>,
    stop: watch::Sender<bool>,
    clients: JoinSet<Result<()>>,
}

impl Workload {
    /// Starts clients of the nodes with these ports. `seed` determines the operations, not their
    /// times.
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

    /// The recorded operations.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Waits until this number of further operations have a response.
    ///
    /// # Errors
    ///
    /// Returns an error if this takes too long, or if a client ended.
    pub async fn progress(&mut self, more: usize, within: Duration) -> Result<()> {
        let enough = self.history.answered() + more;
        let waited = until("clients receive responses", within, async || {
            Ok((self.history.answered() >= enough).then_some(()))
        })
        .await;
        if let Some(ended) = self.clients.try_join_next() {
            ended.context("a client panicked")??;
            bail!("a client ended unexpectedly");
        }
        waited
    }

    /// Stops all clients after their current operations.
    ///
    /// # Errors
    ///
    /// Returns an error if a client failed.
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
    /// The index of the next node, modulo the number of nodes.
    next: usize,
    client: Option<Client>,
    written: u64,
    random: Xoshiro256PlusPlus,
    history: Arc<History>,
}

impl Worker {
    /// Executes one operation on a contended key, or a read and a conditional write.
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
        self.record(client, key, invoked, outcome, |_| Call::Put { value });
        self.pause_if_refused().await;
        Ok(())
    }

    async fn delete(&mut self, key: String) -> Result<()> {
        let Some(mut client) = self.client().await? else {
            return Ok(());
        };
        let invoked = self.history.now();
        let outcome = client.delete(&key).await;
        self.record(client, key, invoked, outcome, |_| Call::Delete);
        self.pause_if_refused().await;
        Ok(())
    }

    /// Reads a key. Returns the value if there was a response.
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
        self.record(client, key.to_owned(), invoked, outcome, |found| Call::Get {
            found: found.flatten().map(|found| found.value),
        });
        self.pause_if_refused().await;
        Ok(found)
    }

    /// Sets a key if its revision has not changed. Values are unique, so the record contains the
    /// condition as the expected value.
    async fn swap(&mut self, key: String, found: Versioned) -> Result<()> {
        let value = self.new_value();
        let Some(mut client) = self.client().await? else {
            return Ok(());
        };
        let invoked = self.history.now();
        let outcome = client.put_if_unchanged(&key, &value, found.revision).await;
        self.record(client, key, invoked, outcome, |succeeded| Call::Cas {
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

    /// Records the outcome of an operation. A client with a response is mostly used again.
    fn record<T>(
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

    /// The client of the next operation. Every third worker uses gRPC. Returns `None` if the node
    /// does not accept connections.
    async fn client(&mut self) -> Result<Option<Client>> {
        if let Some(client) = self.client.take() {
            return Ok(Some(client));
        }
        let port = self.ports[self.next % self.ports.len()];
        self.next += 1;
        if !self.uses_grpc() {
            return Ok(Some(Client::Http(HttpClient::new(port, TIMEOUT))));
        }
        match Grpc::connect(port, TIMEOUT).await {
            Ok(grpc) => Ok(Some(Client::Grpc(grpc))),
            Err(_) => {
                tokio::time::sleep(PAUSE).await;
                Ok(None)
            }
        }
    }

    fn uses_grpc(&self) -> bool {
        self.id % 3 == 2
    }
}
