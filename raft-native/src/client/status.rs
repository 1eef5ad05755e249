//! The status of this node and of its cluster.

use std::time::Duration;

use bytes::Bytes;
use raft_core::{LogIndex, Payload, Role};
use raft_kv::{Command, Request, View};
use tokio::time::Instant;

use crate::client::{Handle, RequestError};
use crate::consensus::InputError;
use crate::observe::status::{ClusterMember, FollowerView, LogEntry, NodeStatus, role_name};
use crate::peer::rpc::{
    FollowerStatusRecord, NodeStatusRecord, RequestKind, ResponseKind, StatusRequest,
};

/// A peer that does not report its status in time counts as unreachable.
const STATUS_TIMEOUT: Duration = Duration::from_millis(500);
/// The size of the entries that one call of [`Handle::log`] returns, in bytes.
const LOG_BYTES_MAX: usize = 4 << 20;

impl Handle {
    /// The status of this node.
    ///
    /// # Errors
    ///
    /// [`RequestError::Stopping`] if the node has stopped, or [`RequestError::Overloaded`].
    pub async fn status(&self) -> Result<NodeStatus, RequestError> {
        let deadline = Instant::now() + self.config().request_timeout;
        let status = self.0.consensus.status(deadline).await.map_err(|error| match error {
            InputError::Stopped => RequestError::Stopping,
            InputError::QueueFull | InputError::NoReply => RequestError::Overloaded,
        })?;
        let view = View::open(self.0.stores.state.reader()).map_err(RequestError::storage)?;
        let names = &self.0.observed.names;
        let follower = |follower: &raft_core::FollowerStatus| FollowerView {
            node_id: names.get(follower.id),
            next_index: follower.next_index.0,
            match_index: follower.match_index.0,
            in_flight: follower.in_flight,
        };
        Ok(NodeStatus {
            node_id: self.config().name.clone(),
            address: self.config().advertise.to_string(),
            role: role_name(&status).to_owned(),
            pre_candidate: status.role == Role::PreCandidate,
            term: status.term.0,
            vote: status.vote.map(|node| names.get(node)),
            leader: status.leader.map(|node| names.get(node)),
            commit_index: status.commit_index.0,
            applied_index: self.0.consensus.applied(),
            last_index: status.last_log.index.0,
            last_term: status.last_log.term.0,
            durable_index: status.durable_index.0,
            revision: view.revision(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            followers: status.followers.iter().map(follower).collect(),
            alarms: self.alarms(),
        })
    }

    fn alarms(&self) -> Vec<String> {
        let alarm = self.0.observed.space.alarm();
        alarm.map(|alarm| alarm.name().to_owned()).into_iter().collect()
    }

    /// The free space of the disk in bytes.
    pub(crate) fn disk_free(&self) -> u64 {
        self.0.observed.space.free()
    }

    /// The members of the cluster with the status that each one reports.
    pub async fn cluster(&self) -> Vec<ClusterMember> {
        let own = self.status().await.ok();
        let mut members = vec![ClusterMember {
            address: self.config().advertise.to_string(),
            reachable: own.is_some(),
            status: own,
        }];
        let others = self.0.peers.members().map(|(id, peer)| async move {
            let request = RequestKind::Status(StatusRequest {});
            let response = self.0.peers.request(id, request, STATUS_TIMEOUT).await;
            let status = match response.map(|response| response.kind) {
                Ok(Some(ResponseKind::Status(status))) => Some(status.into()),
                _ => None,
            };
            let reachable = status.is_some() && peer.is_connected();
            ClusterMember { address: peer.address.to_string(), reachable, status }
        });
        members.extend(futures_util::future::join_all(others).await);
        members.sort_by(|a, b| a.address.cmp(&b.address));
        members
    }

    /// Entries of the log on the disk of this node.
    ///
    /// # Errors
    ///
    /// [`RequestError::Storage`] if the log cannot be read.
    pub async fn log(&self, from: u64, limit: usize) -> Result<Vec<LogEntry>, RequestError> {
        let through = from.saturating_add(limit as u64).saturating_sub(1);
        let summary = self.0.consensus.summary();
        if limit == 0 || from > summary.last_index.0 {
            return Ok(Vec::new());
        }
        let log = self.0.stores.log.clone();
        self.read_disk(move || {
            let entries = log.read(LogIndex(from.max(1)), LogIndex(through), LOG_BYTES_MAX);
            let view = |entry: raft_core::Entry| {
                let (kind, key, bytes) = payload_summary(entry.payload);
                let (index, term) = (entry.id.index.0, entry.id.term.0);
                let committed = entry.id.index <= summary.commit_index;
                LogEntry { index, term, kind, key, bytes, committed }
            };
            Ok(entries.map_err(RequestError::storage)?.into_iter().map(view).collect())
        })
        .await
    }
}

/// The kind, the key and the size of a payload.
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

impl From<NodeStatus> for NodeStatusRecord {
    fn from(status: NodeStatus) -> Self {
        let follower = |follower: FollowerView| FollowerStatusRecord {
            name: follower.node_id,
            next_index: follower.next_index,
            match_index: follower.match_index,
            in_flight: follower.in_flight as u64,
        };
        Self {
            name: status.node_id,
            address: status.address,
            role: status.role,
            pre_candidate: status.pre_candidate,
            term: status.term,
            vote: status.vote,
            leader: status.leader,
            commit_index: status.commit_index,
            applied_index: status.applied_index,
            last_index: status.last_index,
            last_term: status.last_term,
            durable_index: status.durable_index,
            revision: status.revision,
            version: status.version,
            followers: status.followers.into_iter().map(follower).collect(),
            alarms: status.alarms,
        }
    }
}

impl From<NodeStatusRecord> for NodeStatus {
    fn from(record: NodeStatusRecord) -> Self {
        let follower = |record: FollowerStatusRecord| FollowerView {
            node_id: record.name,
            next_index: record.next_index,
            match_index: record.match_index,
            in_flight: usize::try_from(record.in_flight).unwrap_or(usize::MAX),
        };
        Self {
            node_id: record.name,
            address: record.address,
            role: record.role,
            pre_candidate: record.pre_candidate,
            term: record.term,
            vote: record.vote,
            leader: record.leader,
            commit_index: record.commit_index,
            applied_index: record.applied_index,
            last_index: record.last_index,
            last_term: record.last_term,
            durable_index: record.durable_index,
            revision: record.revision,
            version: record.version,
            followers: record.followers.into_iter().map(follower).collect(),
            alarms: record.alarms,
        }
    }
}
