//! The texts of messages, entries and states in traces.

use raft_core::{
    AppendEntries, AppendResult, Entry, FollowerStatus, InstallSnapshot, LogId, Message, Payload,
    Role, Status, Write,
};

/// The name of a message in commands.
pub fn kind(message: &Message) -> &'static str {
    match message {
        Message::PreVote(_) => "pre-vote",
        Message::PreVoteResponse(_) => "pre-vote-answer",
        Message::RequestVote(_) => "vote",
        Message::RequestVoteResponse(_) => "vote-answer",
        Message::AppendEntries(_) => "append",
        Message::AppendEntriesResponse(_) => "append-answer",
        Message::Heartbeat(_) => "heartbeat",
        Message::HeartbeatResponse(_) => "heartbeat-answer",
        Message::InstallSnapshot(_) => "snapshot",
        Message::InstallSnapshotResponse(_) => "snapshot-answer",
        Message::TimeoutNow(_) => "timeout-now",
        Message::ReadIndex(_) => "read",
        Message::ReadIndexResponse(_) => "read-answer",
    }
}

/// All kinds of messages, to find a misspelled one.
pub const KINDS: [&str; 13] = [
    "pre-vote",
    "pre-vote-answer",
    "vote",
    "vote-answer",
    "append",
    "append-answer",
    "heartbeat",
    "heartbeat-answer",
    "snapshot",
    "snapshot-answer",
    "timeout-now",
    "read",
    "read-answer",
];

/// A message as one line: its name, and its fields.
pub fn message(message: &Message) -> String {
    match message {
        Message::PreVote(request) => format!(
            "PreVote for term {}, last log {}",
            request.campaign_term,
            position(request.last_log)
        ),
        Message::PreVoteResponse(response) => format!(
            "PreVote {} for term {}, term {}",
            if response.granted { "granted" } else { "rejected" },
            response.campaign_term,
            response.term
        ),
        Message::RequestVote(request) => format!(
            "RequestVote in term {}, last log {}{}",
            request.term,
            position(request.last_log),
            if request.transfer { ", by transfer" } else { "" }
        ),
        Message::RequestVoteResponse(response) => format!(
            "RequestVote {}, term {}",
            if response.granted { "granted" } else { "rejected" },
            response.term
        ),
        Message::AppendEntries(request) => append(request),
        Message::AppendEntriesResponse(response) => match response.result {
            AppendResult::Accepted { match_index } => {
                format!("AppendEntries accepted up to {match_index}, term {}", response.term)
            }
            AppendResult::Rejected { prev_log, .. } if prev_log == LogId::default() => {
                format!("AppendEntries rejected, term {}", response.term)
            }
            AppendResult::Rejected { prev_log, hint } => format!(
                "AppendEntries rejected after {}, hint {}, term {}",
                position(prev_log),
                position(hint),
                response.term
            ),
        },
        Message::Heartbeat(request) => format!(
            "Heartbeat in term {}, round {}, committed {}",
            request.term, request.round, request.commit_index
        ),
        Message::HeartbeatResponse(response) => {
            format!("Heartbeat answered, round {}, term {}", response.round, response.term)
        }
        Message::InstallSnapshot(request) => snapshot(request),
        Message::InstallSnapshotResponse(response) => format!(
            "InstallSnapshot up to {}: {} bytes received, term {}",
            position(response.last),
            response.received,
            response.term
        ),
        Message::TimeoutNow(request) => format!("TimeoutNow in term {}", request.term),
        Message::ReadIndex(request) => format!(
            "ReadIndex request {} in term {}{}",
            request.batch,
            request.term,
            if request.lease { ", lease allowed" } else { "" }
        ),
        Message::ReadIndexResponse(response) => format!(
            "ReadIndex {} for request {}, term {}",
            response.read_index, response.batch, response.term
        ),
    }
}

fn append(request: &AppendEntries) -> String {
    let content = if request.entries.is_empty() {
        "no entries".to_owned()
    } else {
        entries(&request.entries)
    };
    format!(
        "AppendEntries in term {}: {content} after {}, committed {}",
        request.term,
        position(request.prev_log),
        request.leader_commit
    )
}

fn snapshot(request: &InstallSnapshot) -> String {
    let (start, size) = (request.offset, request.snapshot.size);
    let last = position(request.snapshot.last);
    if request.data.is_empty() && size > 0 {
        return format!(
            "InstallSnapshot up to {last} in term {}: probe, {size} bytes in total",
            request.term
        );
    }
    format!(
        "InstallSnapshot up to {last} in term {}: {}; bytes {start} to {} of {size}",
        request.term,
        request.snapshot.membership,
        start + request.data.len() as u64
    )
}

/// A position in the log: the index, and the term in brackets.
pub fn position(id: LogId) -> String {
    if id.index.0 == 0 {
        return "nothing".into();
    }
    format!("{}({})", id.index, id.term)
}

pub fn entries(entries: &[Entry]) -> String {
    let parts = entries.iter().map(|entry| {
        let place = position(entry.id);
        match &entry.payload {
            Payload::Noop => format!("{place} empty"),
            Payload::Command(command) => format!("{place} {}", text(command)),
            Payload::Membership(membership) => format!("{place} {{{membership}}}"),
            Payload::Stripped => format!("{place} stripped"),
        }
    });
    parts.collect::<Vec<_>>().join(", ")
}

pub fn text(command: &[u8]) -> String {
    format!("\"{}\"", String::from_utf8_lossy(command))
}

pub fn write(write: &Write) -> String {
    let mut parts = Vec::new();
    if let Some(state) = write.hard_state() {
        parts.push(match state.vote {
            Some(candidate) => format!("term {}, its vote for {candidate}", state.term),
            None => format!("term {}, no vote", state.term),
        });
    }
    if let Some(start) = write.log_start() {
        parts.push(format!("log starts after {}", position(start)));
    }
    if !write.entries().is_empty() {
        parts.push(format!("log {}", entries(write.entries())));
    }
    parts.join("; ")
}

pub fn status(status: &Status, terms: &[u64]) -> String {
    let role = match (status.role, status.leader) {
        (_, _) if status.stopped.is_some() => "has stopped".to_owned(),
        (Role::Leader, _) => "leads".to_owned(),
        (Role::Follower, Some(leader)) => format!("follows {leader}"),
        (Role::Follower, None) => "follows none".to_owned(),
        (Role::PreCandidate, _) => "pre-candidate".to_owned(),
        (Role::Candidate, _) => "candidate".to_owned(),
    };
    let terms: Vec<_> = terms.iter().map(u64::to_string).collect();
    format!(
        "{} {role} in term {}; log [{}], on disk {}, committed {}, applied {}",
        status.id,
        status.term,
        terms.join(" "),
        status.durable_index,
        status.commit_index,
        status.delivered_index
    )
}

pub fn follower(leader: &Status, follower: &FollowerStatus) -> String {
    format!(
        "  {} knows of {}: {} up to {}, next {}, {} in flight",
        leader.id,
        follower.id,
        if follower.probing { "probing, match" } else { "replicating, match" },
        follower.match_index,
        follower.next_index,
        follower.in_flight
    )
}
