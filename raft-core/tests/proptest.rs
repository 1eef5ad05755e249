//! Arbitrary inputs in any order: no panic, no unbounded growth, and deterministic effects.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use raft_core::{
    AppendEntries, AppendEntriesResponse, AppendResult, Config, Durable, Effects, Entry, Fetch,
    HardState, Heartbeat, HeartbeatResponse, InstallSnapshot, InstallSnapshotResponse, Instant,
    LogId, LogIndex, Membership, Message, NodeId, Payload, PreVote, PreVoteResponse, Raft,
    ReadIndex, ReadIndexResponse, ReadMode, RequestVote, RequestVoteResponse, RestoredState,
    Snapshot, SnapshotChunkRequest, SnapshotInstall, Term, TimeoutNow,
};

/// Small numbers, so that they coincide, and the largest number, which must not overflow.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![20 => 0..6_u64, 1 => Just(u64::MAX), 1 => Just(u64::MAX - 1)]
}

fn log_id() -> impl Strategy<Value = LogId> {
    (number(), number()).prop_map(|(term, index)| LogId::new(Term(term), LogIndex(index)))
}

/// Any membership, valid or not.
fn membership() -> impl Strategy<Value = Membership> {
    let nodes = || prop::collection::vec((0..6_u64).prop_map(NodeId), 0..4);
    (nodes(), nodes(), nodes(), nodes(), nodes()).prop_map(
        |(voters, outgoing, learners, joining, witnesses)| {
            Membership::new(voters)
                .with_outgoing(outgoing)
                .with_learners(learners)
                .with_auto_promoted(joining)
                .with_witnesses(witnesses)
        },
    )
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    (log_id(), membership(), 0..2_u64, number()).prop_map(|(last, membership, identity, size)| {
        Snapshot { last, membership, identity, size }
    })
}

fn entries() -> impl Strategy<Value = (LogId, Vec<Entry>)> {
    let payload = || {
        prop_oneof![
            4 => Just(Payload::Noop),
            8 => Just(Payload::Command(Bytes::from_static(b"x"))),
            1 => Just(Payload::Stripped),
            2 => membership().prop_map(|m| Payload::Membership(m.into())),
        ]
    };
    let entry = |id, payload| Entry { id, payload };
    let arbitrary = (log_id(), prop::collection::vec((log_id(), payload()), 0..3)).prop_map(
        move |(prev, list)| (prev, list.into_iter().map(|(id, p)| entry(id, p)).collect()),
    );
    let well_formed = (0..4_u64, 0..5_u64, prop::collection::vec((0..2_u64, payload()), 0..4))
        .prop_map(move |(term, index, list)| {
            let prev = if index == 0 {
                LogId::default()
            } else {
                LogId::new(Term(term.max(1)), LogIndex(index))
            };
            let mut last = prev;
            let entries = list.into_iter().map(|(step, payload)| {
                last = LogId::new(Term((last.term.0 + step).max(1)), last.index.next());
                entry(last, payload)
            });
            (prev, entries.collect())
        });
    prop_oneof![1 => arbitrary, 3 => well_formed]
}

fn message() -> impl Strategy<Value = Message> {
    let term = || number().prop_map(Term);
    prop_oneof![
        (term(), log_id()).prop_map(|(campaign_term, last_log)| Message::PreVote(PreVote {
            campaign_term,
            last_log
        })),
        (term(), term(), any::<bool>()).prop_map(|(term, campaign_term, granted)| {
            Message::PreVoteResponse(PreVoteResponse { term, campaign_term, granted })
        }),
        (term(), log_id(), any::<bool>()).prop_map(|(term, last_log, transfer)| {
            Message::RequestVote(RequestVote { term, last_log, transfer })
        }),
        (term(), snapshot(), number(), 0..4_usize).prop_map(|(term, snapshot, offset, bytes)| {
            Message::InstallSnapshot(Box::new(InstallSnapshot {
                term,
                snapshot,
                offset,
                data: Bytes::from_static(b"data").slice(..bytes),
            }))
        }),
        (term(), log_id(), 0..2_u64, number()).prop_map(|(term, last, identity, received)| {
            Message::InstallSnapshotResponse(InstallSnapshotResponse {
                term,
                last,
                identity,
                received,
            })
        }),
        term().prop_map(|term| Message::TimeoutNow(TimeoutNow { term })),
        (term(), 0..3_u64, number(), any::<bool>()).prop_map(|(term, boot, batch, lease)| {
            Message::ReadIndex(ReadIndex { term, boot, batch, lease })
        }),
        (term(), 0..3_u64, number(), number()).prop_map(|(term, boot, batch, index)| {
            Message::ReadIndexResponse(ReadIndexResponse {
                term,
                boot,
                batch,
                read_index: LogIndex(index),
            })
        }),
        (term(), any::<bool>()).prop_map(|(term, granted)| {
            Message::RequestVoteResponse(RequestVoteResponse { term, granted })
        }),
        (term(), entries(), number()).prop_map(|(term, (prev_log, entries), commit)| {
            let leader_commit = LogIndex(commit);
            Message::AppendEntries(AppendEntries {
                term,
                prev_log,
                entries: entries.into(),
                leader_commit,
            })
        }),
        (term(), number()).prop_map(|(term, index)| {
            let result = AppendResult::Accepted { match_index: LogIndex(index) };
            Message::AppendEntriesResponse(AppendEntriesResponse { term, result })
        }),
        (term(), log_id(), log_id()).prop_map(|(term, prev_log, hint)| {
            let result = AppendResult::Rejected { prev_log, hint };
            Message::AppendEntriesResponse(AppendEntriesResponse { term, result })
        }),
        (term(), number(), number()).prop_map(|(term, round, commit)| {
            Message::Heartbeat(Heartbeat { term, round, commit_index: LogIndex(commit) })
        }),
        (term(), number()).prop_map(|(term, round)| Message::HeartbeatResponse(
            HeartbeatResponse { term, round }
        )),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Receive(u64, Message),
    Elapse(u64),
    Propose,
    Read(ReadMode),
    Change(Membership),
    Transfer(u64),
    Compact { last: u64, retain: u64 },
    AnswerSnapshot,
    Install { damaged: bool },
    Unreachable(u64),
    Sync(usize),
    AnswerFetch(Vec<Entry>),
    Drain,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..5_u64, message()).prop_map(|(from, message)| Step::Receive(from, message)),
        4 => (0..3000_u64).prop_map(Step::Elapse),
        2 => Just(Step::Propose),
        1 => Just(Step::Read(ReadMode::Quorum)),
        1 => Just(Step::Read(ReadMode::Lease)),
        1 => membership().prop_map(Step::Change),
        1 => (0..5_u64).prop_map(Step::Transfer),
        1 => (0..6_u64, 0..6_u64).prop_map(|(last, retain)| Step::Compact { last, retain }),
        1 => Just(Step::AnswerSnapshot),
        1 => any::<bool>().prop_map(|damaged| Step::Install { damaged }),
        1 => (0..5_u64).prop_map(Step::Unreachable),
        4 => (0..3_usize).prop_map(Step::Sync),
        1 => entries().prop_map(|(_, entries)| Step::AnswerFetch(entries)),
        4 => Just(Step::Drain),
    ]
}

struct Driver {
    raft: Raft,
    now: Instant,
    tokens: Vec<Durable>,
    fetches: Vec<Fetch>,
    snapshot_reads: Vec<SnapshotChunkRequest>,
    install: Option<SnapshotInstall>,
    applied: LogIndex,
    effects: Effects,
    messages: Vec<Message>,
}

impl Driver {
    fn new(size: u64, witness: bool) -> Self {
        let mut config = Config::new(NodeId(1));
        config.record_events = true;
        config.log_cache_bytes_max = 100;
        config.uncommitted_bytes_max = 1000;
        config.reads_max = 8;
        config.lease_drift_ppm = Some(1000);
        config.snapshot_chunk_bytes_max = 2;
        // Of fewer than three voters, none can be a witness.
        config.witness = witness && size > 2;
        let witnesses = config.witness.then_some(config.id);
        let membership = Membership::new((1..=size).map(NodeId)).with_witnesses(witnesses);
        let restored = RestoredState::new(1, membership, HardState::default(), LogIndex(0), 0);
        Self {
            raft: Raft::new(config, restored, 7, Instant(0)).unwrap(),
            now: Instant(0),
            tokens: Vec::new(),
            fetches: Vec::new(),
            snapshot_reads: Vec::new(),
            install: None,
            applied: LogIndex(0),
            effects: Effects::default(),
            messages: Vec::new(),
        }
    }

    fn step(&mut self, step: Step) {
        let now = self.now;
        match step {
            Step::Receive(from, message) => self.raft.receive(NodeId(from), message, now),
            Step::Elapse(millis) => {
                self.now = now + Duration::from_millis(millis);
                self.raft.tick(self.now);
            }
            Step::Propose => drop(self.raft.propose(Bytes::from_static(b"command"), now)),
            Step::Read(mode) => drop(self.raft.read(mode, now)),
            Step::Change(target) => drop(self.raft.change_membership(target, now)),
            Step::Transfer(to) => drop(self.raft.transfer_leadership(Some(NodeId(to)), now)),
            Step::Unreachable(peer) => self.raft.report_unreachable(NodeId(peer), now),
            // Only applied entries: any other snapshot is a mistake of the caller, and stops the
            // server.
            Step::Compact { last, retain } => {
                let last = LogIndex(last).min(self.applied);
                if let Some(term) = self.raft.term_at(last)
                    && last > LogIndex(0)
                {
                    let snapshot = Snapshot {
                        last: LogId::new(term, last),
                        membership: self.raft.membership_at(last).clone(),
                        identity: last.0,
                        size: 3,
                    };
                    self.raft.report_snapshot(snapshot, LogIndex(retain), now);
                }
            }
            Step::AnswerSnapshot => {
                if let Some(read) = self.snapshot_reads.pop() {
                    let data = Bytes::from(vec![0; read.bytes]);
                    self.raft.provide_snapshot_chunk(read, data, now);
                }
            }
            Step::Install { damaged } => {
                if let Some(install) = self.install.take() {
                    if damaged {
                        self.raft.snapshot_damaged(install, now);
                    } else {
                        assert!(install.snapshot().last.index > self.applied, "it goes forward");
                        self.applied = install.snapshot().last.index;
                        self.raft.snapshot_installed(install.installed(), now);
                    }
                }
            }
            Step::Sync(which) if which < self.tokens.len() => {
                let token = self.tokens.remove(which);
                self.raft.persisted(token, now);
            }
            Step::Sync(_) => {}
            Step::AnswerFetch(entries) => {
                if let Some(fetch) = self.fetches.pop() {
                    self.raft.fetched(fetch, entries, now);
                }
            }
            Step::Drain => {
                self.raft.drain(&mut self.effects);
                self.tokens.extend(self.effects.write.take().map(raft_core::Write::synced));
                self.fetches.append(&mut self.effects.fetches);
                self.snapshot_reads.append(&mut self.effects.snapshot_chunk_requests);
                for entry in self.effects.committed.drain(..).flat_map(|piece| piece.to_vec()) {
                    assert!(self.install.is_none(), "the state machine is being replaced");
                    assert_eq!(entry.id.index, self.applied.next(), "every entry once, in order");
                    self.applied = entry.id.index;
                }
                self.install = self.effects.install.take().or(self.install.take());
                self.messages.extend(self.effects.messages.drain(..).map(|sent| sent.message));
                self.effects = Effects::default();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn arbitrary_calls_never_panic_and_are_deterministic(
        size in 1..5_u64,
        witness in prop::bool::weighted(0.1),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let (mut one, mut two) = (Driver::new(size, witness), Driver::new(size, witness));
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let mut commit_index = LogIndex(0);
        for step in steps {
            let term = one.raft.term();
            one.step(step.clone());
            two.step(step);
            prop_assert!(one.raft.term() >= term);
            prop_assert!(one.raft.commit_index() >= commit_index);
            commit_index = one.raft.commit_index();
            prop_assert!(commit_index <= one.raft.last_log().index);
            let copy = one.raft.clone();
            prop_assert_eq!(hasher.hash_one(&copy), hasher.hash_one(&two.raft));
            prop_assert_eq!(&copy, &two.raft);
        }
        prop_assert_eq!(one.messages, two.messages);
    }
}

/// A peer that floods a server without drains cannot cause unbounded growth.
#[test]
fn undrained_read_outcomes_are_bounded() {
    let mut driver = Driver::new(3, false);
    for _ in 0..100_000 {
        let request = PreVote { campaign_term: Term(1), last_log: LogId::default() };
        driver.step(Step::Receive(2, Message::PreVote(request)));
    }
    driver.step(Step::Drain);
    assert!(driver.messages.len() <= 4096);
}
