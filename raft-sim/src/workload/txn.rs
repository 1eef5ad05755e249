//! Clients that read and change several keys at once, in transactions, and clients that are content
//! with what any one server has.
//!
//! What a transaction is answered must be what is reckoned beside the servers, and its revision
//! must fit into time: it is no less than any that was answered before the transaction was asked
//! for, and greater if it changed something. What it does to each key is part of the clients'
//! history, too.
//!
//! A read with the consistency `stale` promises what raft-native declares: it is answered by one
//! server alone, from what that has applied. So it must be all that there was at the revision that
//! it names, or at an earlier one that was asked for; and as long as a server runs, it does not go
//! back to an older one.

use std::collections::BTreeMap;

use raft_kv::{
    KeyRange, Outcome, RangeRequest, RangeResponse, RequestResult, Response, Session, TxnResult,
};

use crate::check::auditor::Checked;
use crate::check::invariants::Invariant;
use crate::linearizability::{Call, HistoryOperation};
use crate::node::{Node, RequestId};
use crate::story::EventKind;
use crate::util::rng::SimRng;
use crate::workload::kv::{ClientMessage, ClientResponse};
use crate::workload::lease;
use crate::workload::txn_ops::{FIRST, PendingTxn, TxnOp, check_revision_order, session_client};
use crate::world::config::WorldConfig;
use crate::world::{Event, World, note};

#[derive(Clone, Debug)]
pub(crate) struct TxnWorkload {
    all: Vec<TxnClient>,
    next_trade: u64,
    /// What transactions did to single keys, and what they may have done.
    pub(crate) done: Vec<HistoryOperation>,
    /// For each node, which of its processes has answered a stale read, and with which revision.
    shown: BTreeMap<u64, (u64, i64)>,
    random: SimRng,
    #[cfg(test)]
    pub(crate) flaw: Option<InjectedBug>,
}

/// What a server could do wrong.
#[cfg(test)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum InjectedBug {
    /// A stale read is answered from what is on the disk: what was, and not what was shown before.
    GoesBack,
    /// A stale read lacks a key.
    Lacks,
    /// A transaction is answered as the one before it.
    AnswersLate,
}

#[derive(Clone, Debug, Default)]
struct TxnClient {
    /// The server that it believes to lead.
    leader: Option<u64>,
    /// What keys held when it saw them last.
    known: BTreeMap<String, Option<String>>,
    trade: Option<PendingTxn>,
}

const ATTEMPTS_MAX: u64 = 12;
/// How long a trader waits before it asks again, if nobody knows a leader.
const PATIENCE: u64 = 50_000;
/// How many times as long as others they rest.
const THINK_TIME_FACTOR: u64 = 3;
/// How far back somebody looks, in revisions.
const STALE_REVISIONS_MAX: u64 = 10;

pub(crate) fn is_traders(asked: RequestId) -> bool {
    asked.operation >= FIRST
}

/// What clients ask for who are not watched one by one.
pub(crate) fn is_in_company(asked: RequestId) -> bool {
    is_traders(asked) || lease::is_holders(asked)
}

impl TxnWorkload {
    pub(crate) fn new(config: &WorldConfig) -> Self {
        Self {
            all: vec![TxnClient::default(); config.txn_clients as usize],
            next_trade: FIRST,
            done: Vec::new(),
            shown: BTreeMap::new(),
            random: SimRng::new(config.seed ^ 0x07ad_e125),
            #[cfg(test)]
            flaw: None,
        }
    }

    fn waiting(&mut self, operation: u64) -> Option<(usize, &mut TxnClient)> {
        let mut all = self.all.iter_mut().enumerate();
        all.find(|(_, trader)| {
            let trade = trader.trade.as_ref();
            trade.is_some_and(|trade| trade.number == operation)
        })
    }

    fn wish(&mut self, trader: usize, keys: u64, latest: i64) -> TxnOp {
        let random = &mut self.random;
        if random.chance_per_mille(400) {
            let back = i64::try_from(random.below(STALE_REVISIONS_MAX)).unwrap_or(0);
            let at = random.chance_per_mille(400).then(|| (latest - back).max(1));
            return TxnOp::StaleRead { at };
        }
        let mut left: Vec<u64> = (1..=keys.max(1)).collect();
        let mut keys = Vec::new();
        while !left.is_empty() {
            let key = left.swap_remove(random.below(left.len() as u64) as usize);
            keys.push(format!("k{key}"));
        }
        if random.chance_per_mille(200) {
            return TxnOp::ReadAll { keys };
        }
        keys.truncate(3);
        let known = &self.all[trader].known;
        TxnOp::Swap {
            expected: known.get(&keys[0]).cloned().flatten(),
            keys,
            deletes: random.chance_per_mille(200),
        }
    }

    /// What traders did to single keys, and what they may do yet.
    pub(crate) fn history(&self) -> impl Iterator<Item = HistoryOperation> {
        self.done.iter().cloned().chain(self.pending())
    }

    /// What traders may do yet to single keys.
    pub(crate) fn pending(&self) -> impl Iterator<Item = HistoryOperation> {
        let trades = self.all.iter().enumerate();
        let trades = trades.filter_map(|(trader, it)| Some((trader, it.trade.as_ref()?)));
        trades.flat_map(|(trader, trade)| trade.operations(trader, None))
    }
}

impl World {
    pub(crate) fn wake_traders(&mut self) {
        for trader in 0..self.traders.all.len() {
            self.trader_rests(trader);
        }
    }

    fn trader_rests(&mut self, trader: usize) {
        // Each of their requests is as much as several of others.
        let rest = THINK_TIME_FACTOR * self.traders.random.sample(self.config.think_time);
        self.schedule(self.now + rest, Event::TraderWakes(trader));
    }

    /// A trader asks for something; when the clients stop, all do.
    pub(crate) fn trader_wakes(&mut self, trader: usize) {
        if self.clients.stopped {
            return;
        }
        let latest = self.ledger.revision();
        let wish = self.traders.wish(trader, self.config.key_count, latest);
        let applied = self.nodes.iter().filter_map(Node::running);
        let applied = applied.map(|running| running.kv.applied_index());
        let since = applied.max().unwrap_or(0);
        let number = self.traders.next_trade;
        self.traders.next_trade += 1;
        self.tell_of_trader(trader, None, || format!("wants to {wish}"));
        self.traders.all[trader].trade = Some(PendingTxn {
            number,
            wish,
            attempts: 0,
            since,
            invoked: self.now,
            floor: self.clients.told,
        });
        self.try_trade(number);
    }

    /// Sends a trader's request, for the first time or again.
    fn try_trade(&mut self, operation: u64) {
        let any = self.traders.random.within(1..=self.config.nodes);
        let Some((number, trader)) = self.traders.waiting(operation) else {
            return;
        };
        let leader = trader.leader;
        let Some(trade) = &mut trader.trade else {
            return;
        };
        if trade.attempts >= ATTEMPTS_MAX {
            self.tell_of_trader(number, None, || "gives up: it may have been done, or not".into());
            return self.end_trade(number, None);
        }
        let node = match trade.wish {
            TxnOp::StaleRead { .. } => any,
            _ => leader.unwrap_or(any),
        };
        trade.attempts += 1;
        let attempt = trade.attempts;
        let asked = RequestId { operation, attempt };
        let arrives_at = self.now + self.traders.random.sample(self.network.latency);
        self.post(ClientMessage { asked, node, answer: None, sent_at: self.now, arrives_at });
        let timeout = self.now + self.config.request_timeout;
        self.schedule(timeout, Event::AttemptTimesOut(asked));
    }

    fn is_latest_try(&mut self, asked: RequestId) -> bool {
        let waiting = self.traders.waiting(asked.operation);
        let trade = waiting.and_then(|(_, trader)| trader.trade.as_ref());
        trade.is_some_and(|trade| trade.attempts == asked.attempt)
    }

    pub(crate) fn trader_tries_again(&mut self, asked: RequestId) {
        if self.is_latest_try(asked) {
            self.try_trade(asked.operation);
        }
    }

    pub(crate) fn trader_waited_in_vain(&mut self, asked: RequestId) {
        if !self.is_latest_try(asked) {
            return;
        }
        if let Some((_, trader)) = self.traders.waiting(asked.operation) {
            trader.leader = None;
        }
        self.try_trade(asked.operation);
    }

    /// A node takes a trader's request.
    pub(crate) fn serve_trader(&mut self, node: u64, asked: RequestId) {
        let trade = self.traders.waiting(asked.operation);
        let Some(trade) = trade.and_then(|(_, trader)| trader.trade.clone()) else {
            return;
        };
        let Some(txn) = trade.txn() else {
            let TxnOp::StaleRead { at } = trade.wish else {
                return;
            };
            let answer = match self.stale_read(node, at) {
                Some(seen) => ClientResponse::Seen(seen),
                None => ClientResponse::Redirect(None),
            };
            return self.send_answer(node, asked, answer);
        };
        let session =
            Session { client: session_client(trade.number), sequence: 1, since: trade.since };
        let command = raft_kv::Command::new(txn).with_session(session);
        let mut leader = None;
        self.with_running(node, |running, now| match running.raft.propose(command.encode(), now) {
            Ok(entry) => {
                running.proposals.insert(entry.index, (entry.term, asked));
            }
            Err(_) => leader = Some(running.raft.leader()),
        });
        if let Some(leader) = leader {
            let leader = leader.map(|leader| leader.0).filter(|it| *it != node);
            self.send_answer(node, asked, ClientResponse::Redirect(leader));
        }
    }

    /// What one server has, whoever leads; nothing, if it keeps no state or is not there yet.
    fn stale_read(&mut self, id: u64, at: Option<i64>) -> Option<RangeResponse> {
        if self.config.witnesses.contains(&id) {
            return None;
        }
        let node = self.node(id)?;
        let request = RangeRequest { revision: at, ..RangeRequest::new(KeyRange::prefix("k")) };
        let kv = &node.running()?.kv;
        #[cfg(test)]
        let kv = match self.traders.flaw {
            Some(InjectedBug::GoesBack) if self.now.is_multiple_of(2) => &node.kv_on_disk,
            _ => kv,
        };
        #[cfg_attr(not(test), allow(unused_mut))]
        let mut seen = kv.range(&request).ok()?;
        #[cfg(test)]
        if self.traders.flaw == Some(InjectedBug::Lacks) {
            seen.kvs.pop();
        }
        let boot = node.boot;
        let judged = self.judge_look(id, boot, &request, &seen);
        note(&mut self.violation, self.now, judged);
        self.traders.shown.insert(id, (boot, seen.revision));
        Some(seen)
    }

    fn judge_look(
        &self,
        node: u64,
        boot: u64,
        request: &RangeRequest,
        seen: &RangeResponse,
    ) -> Checked<()> {
        let broken = |text| Err((Invariant::Linearizability, text));
        let shown = self.traders.shown.get(&node);
        let shown = shown.filter(|(by, _)| *by == boot).map(|(_, it)| *it);
        if shown > Some(seen.revision) {
            return broken(format!(
                "n{node} shows revision {} after revision {}",
                seen.revision,
                shown.unwrap_or_default()
            ));
        }
        let latest = self.ledger.revision();
        let at = request.revision.unwrap_or(seen.revision);
        if at > seen.revision || seen.revision > latest {
            return broken(format!(
                "n{node} shows revision {at}, and is at {}; the latest is {latest}",
                seen.revision
            ));
        }
        let was = self.ledger.read_at(&request.keys, at);
        let is_all = seen.kvs == was && seen.count == was.len() as u64 && !seen.more;
        match is_all {
            true => Ok(()),
            false => broken(format!(
                "n{node} shows {:?} at revision {at}, and there was {was:?}",
                seen.kvs
            )),
        }
    }

    pub(crate) fn trader_is_answered(
        &mut self,
        node: u64,
        asked: RequestId,
        answer: &ClientResponse,
    ) {
        let is_latest = self.is_latest_try(asked);
        let Some((number, trader)) = self.traders.waiting(asked.operation) else {
            return;
        };
        match answer {
            ClientResponse::Replaced if is_latest => {
                return self.schedule(self.now, Event::AttemptAgain(asked));
            }
            ClientResponse::Redirect(leader) if is_latest => {
                trader.leader = *leader;
                let wait = if leader.is_some() { 0 } else { PATIENCE };
                return self.schedule(self.now + wait, Event::AttemptAgain(asked));
            }
            ClientResponse::Replaced
            | ClientResponse::Redirect(_)
            | ClientResponse::Found(_)
            | ClientResponse::Kept(_) => return,
            ClientResponse::Seen(seen) => {
                let revision = seen.revision;
                let keys = (1..=self.config.key_count).map(|key| format!("k{key}"));
                trader.known = keys.map(|key| (key, None)).collect();
                for kv in &seen.kvs {
                    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                    let (key, value) = (text(&kv.key), text(&kv.value));
                    trader.known.insert(key, Some(value));
                }
                self.tell_of_trader(number, Some(node), || format!("sees revision {revision}"));
            }
            ClientResponse::Applied(Outcome::Done(response)) => {
                trader.leader = Some(node);
                let judged = self.judge_trade(number, response);
                note(&mut self.violation, self.now, judged);
                self.clients.told = self.clients.told.max(response.revision);
                self.tell_of_trader(number, Some(node), || {
                    format!("is answered at revision {}", response.revision)
                });
                if let RequestResult::Txn(result) = &response.result {
                    return self.end_trade(number, Some(result));
                }
            }
            // Whether it was done is not known.
            ClientResponse::Applied(_) => {}
        }
        self.end_trade(number, None);
    }

    /// A transaction was done when its answer says so, and is answered as reckoned.
    fn judge_trade(&mut self, trader: usize, response: &Response) -> Checked<()> {
        let Some(trade) = &self.traders.all[trader].trade else {
            return Ok(());
        };
        let reckoned = self.ledger.take_answer(session_client(trade.number));
        #[cfg(test)]
        let reckoned = match (self.traders.flaw, reckoned) {
            (Some(InjectedBug::AnswersLate), Some(mut reckoned)) => {
                reckoned.revision -= 1;
                Some(reckoned)
            }
            (_, reckoned) => reckoned,
        };
        if reckoned.as_ref() != Some(response) {
            let text =
                format!("a transaction is answered with {response:?}, and it came to {reckoned:?}");
            return Err((Invariant::Linearizability, text));
        }
        check_revision_order(trade.floor, response)
    }

    fn end_trade(&mut self, trader: usize, result: Option<&TxnResult>) {
        let it = &mut self.traders.all[trader];
        if let Some(trade) = it.trade.take() {
            let answer = result.map(|result| (self.now, result));
            for operation in trade.operations(trader, answer) {
                if let Call::Get { found } = &operation.call {
                    it.known.insert(operation.key.clone(), found.clone());
                }
                self.traders.done.push(operation);
            }
            self.forget_finished(trade.number);
        }
        self.trader_rests(trader);
    }

    fn tell_of_trader(&mut self, trader: usize, node: Option<u64>, text: impl FnOnce() -> String) {
        self.story.record(self.now, node, EventKind::Client, || {
            format!("Trader {} {}", trader + 1, text())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::rng::DurationRange;
    use crate::world::action::Action;

    /// A busy cluster whose servers come and go, with traders.
    fn world(seed: u64, flaw: Option<InjectedBug>) -> World {
        let config = WorldConfig {
            seed,
            nodes: 3,
            clients: 2,
            key_count: 4,
            txn_clients: 3,
            think_time: DurationRange::new(1_000, 50_000),
            snapshot_every: 10,
            record_events: false,
            ..WorldConfig::default()
        };
        let mut world = World::new(config).unwrap();
        world.traders.flaw = flaw;
        for round in 0..10 {
            let node = round % 3 + 1;
            world.run_until(round * 1_000_000 + 900_000);
            let _ = world.act(&Action::Isolate { node });
            world.run_until((round + 1) * 1_000_000);
            let _ = world.act(&Action::Reconnect { node });
        }
        world
    }

    #[test]
    fn txn_and_stale_read_results_are_correct() {
        let world = world(1, None);
        assert_eq!(world.violation(), None);
        assert_eq!(world.judge_history(500_000), None);
        let count = |is: fn(&Call) -> bool| {
            let done = world.traders.done.iter();
            done.filter(|it| it.returned.is_some() && is(&it.call)).count()
        };
        let swapped = count(|call| matches!(call, Call::Cas { .. }));
        let changed = count(|call| matches!(call, Call::Put { .. } | Call::Delete));
        let read = count(|call| matches!(call, Call::Get { .. }));
        assert!(swapped > 20 && changed == swapped && read > 50, "{swapped}, {changed}, {read}");
        assert_eq!(world.traders.shown.len(), 3);
    }

    #[test]
    fn wrong_txn_results_are_detected() {
        for flaw in [InjectedBug::GoesBack, InjectedBug::Lacks, InjectedBug::AnswersLate] {
            let found = world(1, Some(flaw)).violation().map(|it| it.invariant);
            assert_eq!(found, Some(Invariant::Linearizability), "{flaw:?}");
        }
    }

    /// What a transaction did to a key is judged with what other clients did to it.
    #[test]
    fn txns_are_in_the_history() {
        let mut world = world(1, None);
        let done = world.traders.done.iter_mut();
        let mut reads = done.filter_map(|it| match &mut it.call {
            Call::Get { found } => Some(found),
            _ => None,
        });
        *reads.nth(30).unwrap() = Some("what nobody wrote".into());
        drop(reads);
        assert!(world.judge_history(500_000).is_some());
    }
}
