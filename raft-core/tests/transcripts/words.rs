//! Messages, entries and states in words, for the traces.

use raft_core::{
    AppendEntries, AppendResult, Entry, FollowerStatus, InstallSnapshot, LogId, Message, Payload,
    Role, Status, Write,
};

/// The names of messages in commands.
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

/// All of them, to find a misspelt one.
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

pub fn message(message: &Message) -> String {
    match message {
        Message::PreVote(request) => format!(
            "would you vote for me in term {}? my log ends with {}",
            request.campaign_term,
            position(request.last_log)
        ),
        Message::PreVoteResponse(response) => format!(
            "{}, in term {} I would{}; I am in term {}",
            if response.granted { "yes" } else { "no" },
            response.campaign_term,
            if response.granted { "" } else { " not" },
            response.term
        ),
        Message::RequestVote(request) => format!(
            "vote for me in term {}; my log ends with {}{}",
            request.term,
            position(request.last_log),
            if request.transfer { "; the leader told me to stand" } else { "" }
        ),
        Message::RequestVoteResponse(response) if response.granted => {
            format!("you have my vote in term {}", response.term)
        }
        Message::RequestVoteResponse(response) => {
            format!("you do not have my vote; I am in term {}", response.term)
        }
        Message::AppendEntries(request) => append(request),
        Message::AppendEntriesResponse(response) => match response.result {
            AppendResult::Accepted { match_index } => {
                format!("in term {} my log is yours up to {match_index}, on disk", response.term)
            }
            AppendResult::Rejected { prev_log, .. } if prev_log == LogId::default() => {
                format!("no, it is term {}", response.term)
            }
            AppendResult::Rejected { prev_log, hint } => format!(
                "no, in term {} I lack {}; look no later than {}",
                response.term,
                position(prev_log),
                position(hint)
            ),
        },
        Message::Heartbeat(request) => format!(
            "I lead in term {}, round {}; committed {}",
            request.term, request.round, request.commit_index
        ),
        Message::HeartbeatResponse(response) if response.round == 0 => {
            format!("it is term {}", response.term)
        }
        Message::HeartbeatResponse(response) => {
            format!("I heard round {}, in term {}", response.round, response.term)
        }
        Message::InstallSnapshot(request) => snapshot(request),
        Message::InstallSnapshotResponse(response) => format!(
            "in term {} I have {} bytes of the snapshot up to {}",
            response.term,
            response.received,
            position(response.last)
        ),
        Message::TimeoutNow(request) => {
            format!("stand for election at once, in the place of me, term {}", request.term)
        }
        Message::ReadIndex(request) => format!(
            "how far must a read see? question {}, in term {}{}",
            request.batch,
            request.term,
            if request.lease { ", a lease will do" } else { "" }
        ),
        Message::ReadIndexResponse(response) => format!(
            "as far as {}, to question {}, in term {}",
            response.read_index, response.batch, response.term
        ),
    }
}

fn append(request: &AppendEntries) -> String {
    let what = if request.entries.is_empty() {
        "do you have".to_owned()
    } else {
        format!("append {} after", entries(&request.entries))
    };
    format!(
        "{what} {}{} term {}, committed {}",
        position(request.prev_log),
        if request.entries.is_empty() { "?" } else { ";" },
        request.term,
        request.leader_commit
    )
}

fn snapshot(request: &InstallSnapshot) -> String {
    let (begin, size) = (request.offset, request.snapshot.size);
    if request.data.is_empty() && size > 0 {
        let last = position(request.snapshot.last);
        return format!(
            "how many of the {size} bytes of the snapshot up to {last} do you have? term {}",
            request.term
        );
    }
    format!(
        "snapshot up to {} in term {}, with {}: bytes {begin} to {} of {size}",
        position(request.snapshot.last),
        request.term,
        request.snapshot.membership,
        begin + request.data.len() as u64
    )
}

/// A place in the log: its index and, in brackets, its term.
pub fn position(id: LogId) -> String {
    if id.index.0 == 0 {
        return "nothing".into();
    }
    format!("{}({})", id.index, id.term)
}

pub fn entries(entries: &[Entry]) -> String {
    let words = entries.iter().map(|entry| {
        let place = position(entry.id);
        match &entry.payload {
            Payload::Noop => format!("{place} empty"),
            Payload::Command(command) => format!("{place} {}", text(command)),
            Payload::Membership(membership) => format!("{place} {{{membership}}}"),
            Payload::Stripped => format!("{place} withheld"),
        }
    });
    words.collect::<Vec<_>>().join(", ")
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
        parts.push(format!("its log begins after {}", position(start)));
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
        (Role::Follower, None) => "follows nobody".to_owned(),
        (Role::PreCandidate, _) => "asks around".to_owned(),
        (Role::Candidate, _) => "stands".to_owned(),
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
        "  {} knows of {}: {} up to {}, next {}, {} on the way",
        leader.id,
        follower.id,
        if follower.probing { "searches, equal" } else { "streams, equal" },
        follower.match_index,
        follower.next_index,
        follower.in_flight
    )
}
