//! Reads of keys and of the log.

use std::sync::Arc;

use bytes::Bytes;
use raft_kv::{CountMode, KeyRange, RangeRequest, RangeResponse, View};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::client::{Handle, RETRY_INTERVAL, RequestError};
use crate::consensus::{InputError, ReadReply};

/// The consistency of a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Consistency {
    /// The read sees every write that was acknowledged before the read began.
    #[default]
    Linearizable,
    /// The read sees the entries that this node has applied, which may be old.
    Stale,
}

/// The number of keys that a list reads in one step.
const LIST_STEP_MAX: u64 = 16;
/// A list ends with the step in which it exceeds this many bytes.
const LIST_BYTES_MAX: usize = 4 << 20;

impl Handle {
    /// Reads keys.
    ///
    /// # Errors
    ///
    /// [`RequestError`]. A read changes nothing, so a retry is always safe.
    pub async fn read(
        &self,
        request: &RangeRequest,
        consistency: Consistency,
    ) -> Result<RangeResponse, RequestError> {
        self.wait_for(consistency).await?;
        let (reader, request) = (self.0.stores.state.reader(), request.clone());
        self.read_disk(move || {
            let view = View::open(reader).map_err(RequestError::storage)?;
            view.range(&request).map_err(RequestError::read)
        })
        .await
    }

    /// Lists the first keys of a range: up to `limit` keys, and not much more than 4 MiB. All keys
    /// are read at `at_revision`. If that is `None`, they are read at the revision of the response.
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
        self.wait_for(consistency).await?;
        let reader = self.0.stores.state.reader();
        self.read_disk(move || {
            let view = View::open(reader).map_err(RequestError::storage)?;
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
                let step = view.range(&request).map_err(RequestError::read)?;
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

    /// Reads the disk on a thread that may block. The number of such reads at a time is limited.
    pub(super) async fn read_disk<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, RequestError> + Send + 'static,
    ) -> Result<T, RequestError> {
        let permit = Arc::clone(&self.0.disk_reads).acquire_owned();
        let permit = match timeout(self.config().request_timeout, permit).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) => return Err(RequestError::Stopping),
            Err(_) => return Err(RequestError::Overloaded),
        };
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            read()
        });
        match reading.await {
            Ok(read) => read,
            Err(_) => Err(RequestError::Stopping),
        }
    }

    async fn wait_for(&self, consistency: Consistency) -> Result<(), RequestError> {
        match consistency {
            Consistency::Linearizable => self.wait_until_linearizable().await,
            Consistency::Stale => Ok(()),
        }
    }

    /// Waits until this node has applied all entries that were committed at the time of the call.
    async fn wait_until_linearizable(&self) -> Result<(), RequestError> {
        let deadline = Instant::now() + self.config().request_timeout;
        let mut last = RequestError::NoLeader;
        while Instant::now() < deadline {
            if self.is_stopping() {
                return Err(RequestError::Stopping);
            }
            let summary = self.0.consensus.summary();
            let index = tokio::select! {
                index = self.read_index(deadline) => index,
                () = self.leader_changed(summary) => Err(RequestError::NoLeader),
            };
            match index {
                Ok(index) => {
                    let applied = self.0.consensus.watch_applied();
                    return wait_until_applied(applied, index, deadline).await;
                }
                Err(RequestError::Overloaded) => return Err(RequestError::Overloaded),
                Err(reason) => last = reason,
            }
            sleep(RETRY_INTERVAL).await;
        }
        Err(last)
    }

    /// Requests the index up to which a linearizable read must see.
    async fn read_index(&self, deadline: Instant) -> Result<u64, RequestError> {
        match self.0.consensus.read_index(deadline).await {
            Ok(ReadReply::Ready(index)) => Ok(index),
            Ok(ReadReply::Overloaded) | Err(InputError::QueueFull) => Err(RequestError::Overloaded),
            Ok(ReadReply::Stopped) | Err(InputError::Stopped) => Err(RequestError::Stopping),
            Ok(ReadReply::NoLeader) | Err(InputError::NoReply) => Err(RequestError::NoLeader),
        }
    }
}

/// Waits until the state machine has applied the entries up to an index.
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

/// The number of keys to read next, after this many keys with this many bytes. Without this, a step
/// of large values would make a list several times too large.
fn list_step(keys: usize, bytes: usize) -> u64 {
    let fitting = LIST_BYTES_MAX.saturating_sub(bytes) * keys / bytes.max(1);
    (fitting as u64).clamp(1, LIST_STEP_MAX)
}

/// The smallest key that is larger than `key`.
pub(crate) fn key_successor(key: &[u8]) -> Bytes {
    [key, &[0]].concat().into()
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
        assert!(behind.to_string().contains("behind by 154 entries") && behind.is_definite());
        sender.send_replace(1_000);
        assert!(wait_until_applied(applied, 1_000, now).await.is_ok());
    }
}
