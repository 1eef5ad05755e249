//! The commands of transcripts.

use std::time::Duration;

use bytes::Bytes;
use raft_core::{Config, Membership, NodeId, ReadMode};

use crate::cluster::{Cluster, InFlight};
use crate::format;

/// The maximum number of messages after one command. More messages are an endless loop.
const DELIVERIES_MAX: usize = 10_000;

impl Cluster {
    /// Executes one command. The error describes an invalid command, or a failed expectation.
    pub fn command(&mut self, text: &str) -> Result<(), String> {
        if let Some(rest) = text.strip_prefix("quietly ") {
            self.is_quiet = true;
            let result = self.command(rest);
            self.is_quiet = false;
            return result;
        }
        if let Some(rest) = text.strip_prefix("refused ") {
            return match self.command(rest) {
                Ok(()) => Err("it was not refused".into()),
                Err(why) => {
                    self.say(why);
                    Ok(())
                }
            };
        }
        let words = split(text)?;
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let now = self.now;
        match words[..] {
            [
                "expect",
                of @ ("followers" | "candidates"),
                "time",
                "out",
                how,
                "in",
                clusters,
                "clusters",
                "of",
                size,
            ] => self.expect_timeouts(of, how, number(clusters)?, number(size)?),
            ["expect", ref rest @ ..] => self.expect(rest),

            ["set", name, value] => set(&mut self.template, name, value),
            ["cluster", size] => {
                let ids = 1..=number(size)?;
                self.found(Membership::new(ids.map(NodeId)))
            }
            ["cluster", ref rest @ ..] => self.found(membership(rest)?),
            ["add", id] => self.add(server(id)?, Membership::default()),
            ["with-log", id, "term", term, ref terms @ ..] => {
                let terms: Result<Vec<_>, _> = terms.iter().map(|term| number(term)).collect();
                self.with_log(server(id)?, &terms?, number(term)?)
            }

            ["time-out", id] => {
                let id = server(id)?;
                self.now = self.deadline(id)?;
                self.elapse(id)
            }
            ["forced", "time-out", id] => {
                // Only the clock of this server advances.
                let id = server(id)?;
                let deadline = self.deadline(id)?;
                self.raft_mut(id)?.tick(deadline);
                self.drain(id)
            }
            ["beat", id] => {
                self.pass(self.template.heartbeat_interval);
                self.elapse(server(id)?)
            }
            ["elapse", time] => self.pass_time(duration(time)?, false),
            ["run", time] => self.pass_time(duration(time)?, true),
            ["elect", id] => self.elect(server(id)?),

            ["deliver"] => self.deliver(|_| true),
            ["deliver", "among", ref ids @ ..] => {
                let ids: Result<Vec<_>, _> = ids.iter().map(|id| server(id)).collect();
                let ids = ids?;
                self.deliver(|message| ids.contains(&message.from) && ids.contains(&message.to))
            }
            ["deliver", "first", link, ref kinds @ ..] => {
                let chosen = choice(link, kinds)?;
                let delivered = self.deliver_one(chosen)?;
                delivered.then_some(()).ok_or("there is nothing to deliver".into())
            }
            ["deliver", link, ref kinds @ ..] => self.deliver_now(link, kinds),
            ["lose", link, ref kinds @ ..] => {
                let chosen = choice(link, kinds)?;
                match self.lose(chosen) {
                    0 => Err("there is nothing to lose".into()),
                    _ => Ok(()),
                }
            }
            ["repeat", link, ref kinds @ ..] => {
                let chosen = choice(link, kinds)?;
                let copies: Vec<_> = self.mail.iter().filter(|l| chosen(l)).cloned().collect();
                if copies.is_empty() {
                    return Err("there is nothing to repeat".into());
                }
                self.mail.extend(copies);
                Ok(())
            }
            ["cut", ref links @ ..] => links.iter().try_for_each(|link| self.cut(link)),
            ["heal"] => {
                self.cuts.clear();
                Ok(())
            }

            ["crash", id] => self.crash(server(id)?),
            ["start", id] => {
                let id = server(id)?;
                self.start(id)?;
                self.drain(id)
            }
            ["slow", "disk", id] => {
                self.server_mut(server(id)?)?.is_slow = true;
                Ok(())
            }
            ["quick", "disk", id] => {
                let id = server(id)?;
                self.server_mut(id)?.is_slow = false;
                while self.sync(id, 0)? {}
                self.drain(id)
            }
            ["sync", id] => self.sync_nth(server(id)?, 1),
            ["sync", id, "write", nth] => self.sync_nth(server(id)?, number(nth)?),
            ["disk", "fails", id] => {
                let id = server(id)?;
                self.raft_mut(id)?.storage_failed(now);
                self.drain(id)
            }

            ["propose", id, ref commands @ ..] => {
                let id = server(id)?;
                for command in commands {
                    let command = command.strip_prefix('"').ok_or("commands are quoted")?;
                    let command = Bytes::copy_from_slice(command.as_bytes());
                    let proposed = self.raft_mut(id)?.propose(command, now);
                    proposed.map_err(|error| format!("n{id}: {error}"))?;
                }
                self.drain(id)
            }
            ["read", id] => self.read(server(id)?, ReadMode::Quorum),
            ["read", id, "by", "lease"] => self.read(server(id)?, ReadMode::Lease),
            ["transfer", id, "to", target] => {
                let (id, target) = (server(id)?, NodeId(server(target)?));
                let transferred = self.raft_mut(id)?.transfer_leadership(Some(target), now);
                transferred.map_err(|error| format!("n{id}: {error}"))?;
                self.drain(id)
            }
            ["change", id, "to", ref rest @ ..] => {
                let (id, target) = (server(id)?, membership(rest)?);
                let changed = self.raft_mut(id)?.change_membership(target, now);
                changed.map_err(|error| format!("n{id}: {error}"))?;
                self.drain(id)
            }
            ["unreachable", id, peer] => {
                let (id, peer) = (server(id)?, NodeId(server(peer)?));
                self.raft_mut(id)?.report_unreachable(peer, now);
                self.drain(id)
            }
            ["snapshot", id, "keep", entries] => self.take_snapshot(server(id)?, number(entries)?),
            ["hold", "snapshots", id] => {
                self.server_mut(server(id)?)?.holds_snapshots = true;
                Ok(())
            }
            ["install", id] => {
                let id = server(id)?;
                if !self.server_mut(id)?.install_snapshot(now)? {
                    return Err(format!("n{id} has nothing to install"));
                }
                self.drain(id)
            }

            ["status"] => self.status(),
            _ => Err(format!("`{text}` is no command")),
        }
    }

    fn found(&mut self, founders: Membership) -> Result<(), String> {
        self.servers.clear();
        self.mail.clear();
        self.cuts.clear();
        self.founders = founders.clone();
        for id in founders.members() {
            self.add(id.0, founders.clone())?;
        }
        Ok(())
    }

    /// Lets time pass, and fires each timer at its deadline.
    fn pass_time(&mut self, time: Duration, delivers: bool) -> Result<(), String> {
        let end = self.now + time;
        loop {
            let due = self.running().filter_map(|raft| {
                let deadline = raft.deadline()?;
                Some((deadline, raft.id().0))
            });
            let Some((moment, id)) = due.min().filter(|(moment, _)| *moment <= end) else {
                break;
            };
            self.now = self.now.max(moment);
            self.elapse(id)?;
            if delivers {
                self.deliver(|_| true)?;
            }
        }
        self.now = end;
        Ok(())
    }

    /// Fires a server's timer and delivers all messages. The server then leads.
    fn elect(&mut self, id: u64) -> Result<(), String> {
        self.now = self.deadline(id)?;
        self.elapse(id)?;
        self.deliver(|_| true)?;
        self.expect(&["leader", &format!("n{id}")])
    }

    /// Delivers the selected messages, and those that they cause, until none is in flight.
    fn deliver(&mut self, chosen: impl Fn(&InFlight) -> bool) -> Result<(), String> {
        for _ in 0..DELIVERIES_MAX {
            if !self.deliver_one(&chosen)? {
                return Ok(());
            }
        }
        Err("the messages never end".into())
    }

    /// Delivers the in-flight messages of a link, and not those that they cause.
    fn deliver_now(&mut self, link: &str, kinds: &[&str]) -> Result<(), String> {
        let chosen = choice(link, kinds)?;
        let count = self.mail.iter().filter(|message| chosen(message)).count();
        if count == 0 {
            return Err("there is nothing to deliver".into());
        }
        for _ in 0..count {
            self.deliver_one(&chosen)?;
        }
        Ok(())
    }

    /// Cuts links: `n1>n2` in one direction, `n1-n2` in both, `n1` all links of a server. In-flight
    /// messages are lost.
    fn cut(&mut self, link: &str) -> Result<(), String> {
        let pairs: Vec<_> = if let Some((from, to)) = link.split_once('>') {
            vec![(server(from)?, server(to)?)]
        } else if let Some((left, right)) = link.split_once('-') {
            let (left, right) = (server(left)?, server(right)?);
            vec![(left, right), (right, left)]
        } else {
            let id = server(link)?;
            let others = self.servers.keys().filter(|other| **other != id);
            others.flat_map(|other| [(id, *other), (*other, id)]).collect()
        };
        self.cuts.extend(pairs);
        let cuts = self.cuts.clone();
        self.lose(|message| cuts.contains(&(message.from, message.to)));
        Ok(())
    }

    /// Completes the n-th pending write, counted from 1.
    fn sync_nth(&mut self, id: u64, nth: u64) -> Result<(), String> {
        let position = nth.checked_sub(1).ok_or("writes are counted from 1")?;
        if !self.sync(id, position as usize)? {
            return Err(format!("n{id} has no such write"));
        }
        self.drain(id)
    }

    fn read(&mut self, id: u64, mode: ReadMode) -> Result<(), String> {
        let now = self.now;
        let read = self.raft_mut(id)?.read(mode, now);
        let read = read.map_err(|error| format!("n{id}: {error}"))?;
        self.say(format!("n{id} takes read {}", read.0));
        self.drain(id)
    }

    fn status(&mut self) -> Result<(), String> {
        let mut lines = Vec::new();
        for (id, server) in &self.servers {
            let Some(raft) = &server.raft else {
                lines.push(format!("n{id} is down"));
                continue;
            };
            let status = raft.status();
            lines.push(format::status(&status, &self.terms(*id)?));
            for follower in &status.followers {
                lines.push(format::follower(&status, follower));
            }
        }
        lines.into_iter().for_each(|line| self.say(line));
        Ok(())
    }

    /// The terms of the entries in a server's log.
    pub fn terms(&self, id: u64) -> Result<Vec<u64>, String> {
        let raft = self.raft(id)?;
        let indexes = raft.log_start().index.0 + 1..=raft.last_log().index.0;
        let terms = indexes.map(|index| raft.term_at(raft_core::LogIndex(index)));
        Ok(terms.flatten().map(|term| term.0).collect())
    }
}

/// Splits a command at spaces outside of quotes. A quoted word keeps its opening quote.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    for (position, part) in text.split('"').enumerate() {
        if position % 2 == 1 {
            words.push(format!("\"{part}"));
        } else {
            words.extend(part.split_whitespace().map(String::from));
        }
    }
    if text.matches('"').count() % 2 == 1 {
        return Err("a quote is not closed".into());
    }
    Ok(words)
}

pub fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("`{word}` is no number"))
}

pub fn server(word: &str) -> Result<u64, String> {
    let digits = word.strip_prefix('n');
    let digits = digits.ok_or(format!("`{word}` is no server, such as n1"))?;
    number(digits)
}

/// Parses a selection of messages: `n1>n2`, `n1>`, `>n2` or `>`, and optional kinds.
pub fn choice(link: &str, kinds: &[&str]) -> Result<impl Fn(&InFlight) -> bool + use<>, String> {
    let (from, to) = link.split_once('>').ok_or("a link is like n1>n2")?;
    let end = |word: &str| Some(word).filter(|word| !word.is_empty()).map(server).transpose();
    let (from, to) = (end(from)?, end(to)?);
    if let Some(kind) = kinds.iter().find(|kind| !format::KINDS.contains(kind)) {
        return Err(format!("`{kind}` is no kind of message"));
    }
    let kinds: Vec<_> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
    Ok(move |message: &InFlight| {
        from.is_none_or(|from| from == message.from)
            && to.is_none_or(|to| to == message.to)
            && (kinds.is_empty()
                || kinds.iter().any(|kind| *kind == format::kind(&message.message)))
    })
}

fn duration(word: &str) -> Result<Duration, String> {
    let millis = word.strip_suffix("ms").ok_or("times are like 100ms")?;
    Ok(Duration::from_millis(number(millis)?))
}

/// Parses a membership: `voters n1 n2 learners n3 joining n4 witnesses n2`.
pub fn membership(words: &[&str]) -> Result<Membership, String> {
    let mut parts: [(&str, Vec<NodeId>); 4] =
        ["voters", "learners", "joining", "witnesses"].map(|part| (part, Vec::new()));
    let mut current = None;
    for word in words {
        match parts.iter().position(|(part, _)| part == word) {
            Some(part) => current = Some(part),
            None => {
                let part = current.ok_or("a membership begins with `voters`")?;
                parts[part].1.push(NodeId(server(word)?));
            }
        }
    }
    let [voters, learners, joining, witnesses] = parts.map(|(_, nodes)| nodes);
    let membership = Membership::new(voters).with_learners(learners);
    Ok(membership.with_auto_promoted(joining).with_witnesses(witnesses))
}

fn set(config: &mut Config, name: &str, value: &str) -> Result<(), String> {
    let on = || match value {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("it is `on` or `off`"),
    };
    let count = || number(value).map(|value| value as usize);
    match name {
        "pre_vote" => config.pre_vote = on()?,
        "check_quorum" => config.check_quorum = on()?,
        "lease_drift_ppm" => config.lease_drift_ppm = Some(number(value)? as u32),
        "append_bytes_max" => config.append_bytes_max = count()?,
        "in_flight_messages_max" => config.in_flight_messages_max = count()?,
        "window_bytes_max" => config.log_cache_bytes_max = count()?,
        "snapshot_piece_bytes_max" => config.snapshot_chunk_bytes_max = count()?,
        _ => return Err(format!("{name} cannot be set")),
    }
    Ok(())
}
