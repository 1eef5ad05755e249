//! Details of a node and of a message, for the inspector of the page.

use raft_core::{AppendResult, LogId, Membership, Message, NodeId, Role};
use raft_sim::{KeyView, ProcessView, World};
use serde::Serialize;

/// The state of a node. The server is absent if its process is down.
#[derive(Serialize)]
pub(crate) struct NodeDetail {
    id: u64,
    #[serde(flatten)]
    process: ProcessView,
    isolated: bool,
    #[serde(flatten)]
    server: Option<ServerDetail>,
    votes: Vec<(u64, bool)>,
    followers: Vec<FollowerDetail>,
    keys: Vec<KeyView>,
}

/// The state of a running server.
#[derive(Serialize)]
struct ServerDetail {
    role: &'static str,
    term: u64,
    vote: Option<u64>,
    leader: Option<u64>,
    commit_index: u64,
    applied_index: u64,
    durable_index: u64,
    last_index: u64,
    last_term: u64,
    /// The last entry of the snapshot before the log.
    log_start: u64,
    membership: MembershipDetail,
}

/// The membership that a server considers effective.
#[derive(Serialize)]
struct MembershipDetail {
    voters: Vec<u64>,
    outgoing: Vec<u64>,
    learners: Vec<u64>,
    joining: Vec<u64>,
    witnesses: Vec<u64>,
}

/// A leader's view of a follower.
#[derive(Serialize)]
struct FollowerDetail {
    id: u64,
    next_index: u64,
    match_index: u64,
    probing: bool,
    in_flight: usize,
}

/// A message with the names and values of its fields.
#[derive(Serialize)]
pub(crate) struct MessageDetail {
    id: u64,
    from: u64,
    to: u64,
    kind: &'static str,
    sent_at: u64,
    arrives_at: u64,
    lost_at: Option<u64>,
    fields: Vec<(&'static str, String)>,
}

/// The details of a node; none if the node does not exist.
pub(crate) fn node(world: &World, id: u64) -> Option<NodeDetail> {
    let process = world.process(id)?;
    let status = world.status(id);
    let votes = status.iter().flat_map(|status| &status.votes);
    let followers = status.iter().flat_map(|status| &status.followers);
    Some(NodeDetail {
        id,
        process,
        isolated: world.is_isolated(id),
        votes: votes.map(|(voter, granted)| (voter.0, *granted)).collect(),
        followers: followers
            .map(|follower| FollowerDetail {
                id: follower.id.0,
                next_index: follower.next_index.0,
                match_index: follower.match_index.0,
                probing: follower.probing,
                in_flight: follower.in_flight,
            })
            .collect(),
        server: server(world, id),
        keys: world.keys(id),
    })
}

/// The details of the server of a node; none if its process is down.
fn server(world: &World, id: u64) -> Option<ServerDetail> {
    let (status, raft) = world.status(id).zip(world.raft(id))?;
    Some(ServerDetail {
        role: match status.role {
            Role::Follower => "follower",
            Role::PreCandidate => "pre-candidate",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
        },
        term: status.term.0,
        vote: status.vote.map(|node| node.0),
        leader: status.leader.map(|node| node.0),
        commit_index: status.commit_index.0,
        applied_index: world.applied_index(id).unwrap_or(0),
        durable_index: status.durable_index.0,
        last_index: status.last_log.index.0,
        last_term: status.last_log.term.0,
        log_start: raft.log_start().index.0,
        membership: membership(raft.membership()),
    })
}

fn membership(membership: &Membership) -> MembershipDetail {
    let numbers = |nodes: &[NodeId]| nodes.iter().map(|node| node.0).collect();
    MembershipDetail {
        voters: numbers(membership.voters()),
        outgoing: numbers(membership.outgoing()),
        learners: numbers(membership.learners()),
        joining: numbers(membership.auto_promoted()),
        witnesses: numbers(membership.witnesses()),
    }
}

/// The details of a message that is in flight or was lost recently.
pub(crate) fn message(world: &World, id: u64) -> Option<MessageDetail> {
    let lost = world.lost().iter().find(|lost| lost.message.id == id);
    let flight = world.message(id).or(lost.map(|lost| &lost.message))?;
    let (kind, fields) = message_fields(&flight.message);
    Some(MessageDetail {
        id,
        from: flight.from,
        to: flight.to,
        kind,
        sent_at: flight.sent_at,
        arrives_at: flight.arrives_at,
        lost_at: lost.map(|lost| lost.at),
        fields,
    })
}

/// The name of a message, and its fields.
fn message_fields(message: &Message) -> (&'static str, Vec<(&'static str, String)>) {
    let entry = |id: LogId| format!("{} of term {}", id.index, id.term);
    let yes = |yes: bool| if yes { "yes" } else { "no" }.to_owned();
    match message {
        Message::PreVote(m) => (
            "PreVote",
            vec![("campaign term", m.campaign_term.to_string()), ("last entry", entry(m.last_log))],
        ),
        Message::PreVoteResponse(m) => (
            "PreVote response",
            vec![("term", m.term.to_string()), ("vote granted", yes(m.granted))],
        ),
        Message::RequestVote(m) => {
            ("RequestVote", vec![("term", m.term.to_string()), ("last entry", entry(m.last_log))])
        }
        Message::RequestVoteResponse(m) => (
            "RequestVote response",
            vec![("term", m.term.to_string()), ("vote granted", yes(m.granted))],
        ),
        Message::AppendEntries(m) => (
            "AppendEntries",
            vec![
                ("term", m.term.to_string()),
                ("previous entry", entry(m.prev_log)),
                ("entries", m.entries.len().to_string()),
                ("leader's commit index", m.leader_commit.to_string()),
            ],
        ),
        Message::AppendEntriesResponse(m) => {
            let result = match m.result {
                AppendResult::Accepted { match_index } => ("stored up to", match_index.to_string()),
                AppendResult::Rejected { prev_log, .. } => ("lacks entry", entry(prev_log)),
            };
            ("AppendEntries response", vec![("term", m.term.to_string()), result])
        }
        Message::Heartbeat(m) => (
            "Heartbeat",
            vec![
                ("term", m.term.to_string()),
                ("round", m.round.to_string()),
                ("commit index", m.commit_index.to_string()),
            ],
        ),
        Message::HeartbeatResponse(m) => (
            "Heartbeat response",
            vec![("term", m.term.to_string()), ("round", m.round.to_string())],
        ),
        Message::InstallSnapshot(m) => (
            "InstallSnapshot",
            vec![
                ("term", m.term.to_string()),
                ("snapshot up to entry", entry(m.snapshot.last)),
                (
                    "bytes",
                    format!(
                        "{} to {} of {}",
                        m.offset,
                        m.offset + m.data.len() as u64,
                        m.snapshot.size
                    ),
                ),
            ],
        ),
        Message::InstallSnapshotResponse(m) => (
            "InstallSnapshot response",
            vec![
                ("term", m.term.to_string()),
                ("snapshot up to entry", entry(m.last)),
                ("bytes received", m.received.to_string()),
            ],
        ),
        Message::TimeoutNow(m) => ("TimeoutNow", vec![("term", m.term.to_string())]),
        Message::ReadIndex(m) => {
            ("ReadIndex", vec![("term", m.term.to_string()), ("read batch", m.batch.to_string())])
        }
        Message::ReadIndexResponse(m) => (
            "ReadIndex response",
            vec![
                ("term", m.term.to_string()),
                ("read batch", m.batch.to_string()),
                ("read index", m.read_index.to_string()),
            ],
        ),
    }
}
