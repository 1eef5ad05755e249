//! The expectations of transcripts, which an update never changes.

use raft_core::{FollowerStatus, NodeId, ReadOutcome, Role};

use crate::cluster::Cluster;
use crate::commands::{choice, membership, number, server};

impl Cluster {
    pub fn expect(&self, words: &[&str]) -> Result<(), String> {
        match words {
            ["leader", id] => self.expect_leader(server(id)?),
            ["no", "leader"] => {
                let mut leaders = self.running().filter(|raft| raft.role() == Role::Leader);
                match leaders.next() {
                    Some(raft) => Err(format!("{} leads in term {}", raft.id(), raft.term())),
                    None => Ok(()),
                }
            }
            ["in", "flight", link, kinds @ ..] => {
                let chosen = choice(link, kinds)?;
                let found = self.mail.iter().any(chosen);
                same(found, true, "whether it is in flight")
            }
            ["nothing", "in", "flight"] => same(self.mail.len(), 0, "messages in flight"),
            ["nothing", "in", "flight", link, kinds @ ..] => {
                let chosen = choice(link, kinds)?;
                let found = self.mail.iter().filter(|letter| chosen(letter));
                same(found.count(), 0, "messages in flight")
            }
            ["all", rest @ ..] => {
                let mut ids = self.running().map(raft_core::Raft::id);
                ids.try_for_each(|id| self.expect_of(id.0, rest))
            }
            [id, rest @ ..] => self.expect_of(server(id)?, rest),
            [] => Err("it expects nothing".into()),
        }
        .map_err(|why| format!("expected `{}`, but {why}", words.join(" ")))
    }

    /// The leader of the latest term.
    fn expect_leader(&self, id: u64) -> Result<(), String> {
        let leader = self.raft(id)?;
        same(leader.role(), Role::Leader, "the role")?;
        let mut others = self.running().filter(|raft| raft.id() != leader.id());
        match others.find(|raft| raft.role() == Role::Leader && raft.term() >= leader.term()) {
            Some(other) => Err(format!("{} leads in term {}", other.id(), other.term())),
            None => Ok(()),
        }
    }

    fn expect_of(&self, id: u64, words: &[&str]) -> Result<(), String> {
        let server = self.server(id)?;
        if let ["down"] = words {
            return same(server.raft.is_none(), true, "whether it is down");
        }
        let raft = self.raft(id)?;
        let status = raft.status();
        let of = |found: Result<(), String>| found.map_err(|why| format!("n{id}: {why}"));
        of(match words {
            ["leads"] => same(status.role, Role::Leader, "the role"),
            ["follows", "none"] => {
                same(status.role, Role::Follower, "the role")?;
                same(status.leader, None, "the leader")
            }
            ["follows", leader] => {
                let leader = Some(NodeId(crate::commands::server(leader)?));
                same(status.role, Role::Follower, "the role")?;
                same(status.leader, leader, "the leader")
            }
            ["is", "a", "follower"] => same(status.role, Role::Follower, "the role"),
            ["is", "a", "pre-candidate"] => same(status.role, Role::PreCandidate, "the role"),
            ["is", "a", "candidate"] => same(status.role, Role::Candidate, "the role"),
            ["term", term] => same(status.term.0, number(term)?, "the term"),
            ["voted", "for", "none"] => same(status.vote, None, "the vote"),
            ["voted", "for", candidate] => {
                let candidate = NodeId(crate::commands::server(candidate)?);
                same(status.vote, Some(candidate), "the vote")
            }
            ["log", "begins", "after", index] => {
                same(raft.log_start().index.0, number(index)?, "the log's beginning")
            }
            ["log", terms @ ..] => {
                let terms: Result<Vec<_>, _> = terms.iter().map(|term| number(term)).collect();
                same(self.terms(id)?, terms?, "the log")
            }
            ["committed", index] => {
                same(status.commit_index.0, number(index)?, "what is committed")
            }
            ["on", "disk", index] => {
                same(status.durable_index.0, number(index)?, "what is on disk")
            }
            ["applied", commands @ ..] => {
                let commands: Vec<_> = commands.iter().map(|c| c.trim_start_matches('"')).collect();
                same(&server.applied[..], &commands, "what is applied")
            }
            ["membership", rest @ ..] => same(raft.membership(), &membership(rest)?, "membership"),
            ["is", "in", "a", "joint", "membership"] => {
                same(raft.membership().is_joint(), true, "whether it is joint")
            }
            ["stopped"] => same(status.stopped.is_some(), true, "whether it stopped"),
            ["runs"] => same(status.stopped.is_none(), true, "whether it runs"),
            ["read", read, "must", "see", index] => {
                let outcome = server.reads.get(&number(read)?);
                match outcome {
                    Some(ReadOutcome::Ready { read_index, .. }) => {
                        same(read_index.0, number(index)?, "what it must see")
                    }
                    other => Err(format!("of that read there is {other:?}")),
                }
            }
            ["read", read, "waits"] => {
                same(server.reads.contains_key(&number(read)?), false, "whether it ended")
            }
            ["read", read, "is", "aborted"] => match server.reads.get(&number(read)?) {
                Some(ReadOutcome::Aborted { .. }) => Ok(()),
                other => Err(format!("of that read there is {other:?}")),
            },
            ["timer", "runs", "for", range] => {
                let timer = status.election_timer.ok_or("it has no timer")?;
                let millis = timer.deadline.saturating_since(self.now).as_millis() as u64;
                let (least, most) = range.split_once("..").ok_or("a range is like 1000..2000")?;
                let range = number(least)?..number(most)?;
                let found = range.contains(&millis);
                found.then_some(()).ok_or(format!("it runs for {millis} ms"))
            }
            ["knows", "of", follower, rest @ ..] => {
                let follower = NodeId(crate::commands::server(follower)?);
                let mut followers = status.followers.iter();
                let known = followers.find(|known| known.id == follower);
                expect_known(known.ok_or("it does not know that follower")?, rest)
            }
            _ => Err("it is no expectation".into()),
        })
    }
}

fn expect_known(follower: &FollowerStatus, words: &[&str]) -> Result<(), String> {
    match words {
        ["match", index] => same(follower.match_index.0, number(index)?, "up to where it is equal"),
        ["next", index] => same(follower.next_index.0, number(index)?, "the next entry"),
        ["in", "flight", count] => {
            same(follower.in_flight as u64, number(count)?, "the messages in flight")
        }
        ["replicates"] => same(follower.probing, false, "whether it probes"),
        ["probes"] => same(follower.probing, true, "whether it probes"),
        _ => Err("it is no expectation".into()),
    }
}

fn same<T, U>(found: T, expected: U, what: &str) -> Result<(), String>
where
    T: PartialEq<U> + std::fmt::Debug,
{
    if found == expected {
        return Ok(());
    }
    Err(format!("{what} is {found:?}"))
}
