//! The decisions of this node, in words, for its log and for those who watch.
//!
//! The consensus loop only puts events into a queue. A thread formats each event once, logs it and
//! hands it to the subscribers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use raft_core::{Event, IgnoreReason};
use serde::Serialize;
use tokio::sync::mpsc;
use tracing::{Level, debug, info, warn};

use crate::config::node_names::NodeNames;

/// One decision.
#[derive(Debug, Serialize)]
struct EventRecord {
    /// Its number, from 0, since the node started.
    id: u64,
    /// When, in milliseconds of Unix time.
    at_ms: u64,
    /// The node's name.
    node: String,
    /// What it is about: `election`, `replication`, `commit`, `read` or `fault`.
    kind: &'static str,
    /// A sentence that begins with the node's name.
    text: String,
    /// Where the rule behind it is written.
    source: &'static str,
}

/// A decision as it is sent to subscribers: its number, and all of it as JSON.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) id: u64,
    pub(crate) json: String,
}

/// Which events a subscriber gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Detail {
    /// Elections and faults.
    #[default]
    Decisions,
    /// Also the events of each entry and each read.
    All,
}

/// The queue from the consensus loop. The thread of the journal ends when this is dropped.
pub(crate) struct Recorder {
    queue: SyncSender<Queued>,
    hub: Arc<Hub>,
}

struct Queued {
    event: Event,
    at: SystemTime,
}

/// The latest decisions, and the subscribers to those to come.
#[derive(Clone)]
pub(crate) struct EventLog(Arc<Hub>);

#[derive(Default)]
struct Hub {
    feed: Mutex<Feed>,
    /// Subscribers to [`Detail::All`].
    routine_wanted: AtomicUsize,
    /// Events that found the queue full.
    missed: AtomicUsize,
}

#[derive(Default)]
struct Feed {
    recent: VecDeque<Arc<Recorded>>,
    subscribers: Vec<Subscriber>,
}

struct Subscriber {
    detail: Detail,
    queue: mpsc::Sender<Arc<Recorded>>,
}

/// The events of one subscriber: first the latest decisions, then those to come. The stream ends
/// if the subscriber does not keep up.
pub(crate) struct Subscription {
    recent: VecDeque<Arc<Recorded>>,
    queue: mpsc::Receiver<Arc<Recorded>>,
}

/// All places of subscribers are taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("overloaded: {SUBSCRIBERS_MAX} clients read the events already; try again later")]
pub(crate) struct TooManySubscribers;

/// How many decisions are remembered, without those about single entries.
const RECENT_MAX: usize = 500;
pub(crate) const SUBSCRIBERS_MAX: usize = 8;
/// A subscriber that is further behind is dropped.
const SUBSCRIBER_QUEUE_MAX: usize = 1024;
/// Events that wait for the thread. More are dropped, and counted.
const QUEUE_MAX: usize = 4096;

/// Makes a journal. The caller runs the returned function on a thread of its own.
pub(crate) fn new(node: String, names: NodeNames) -> (Recorder, EventLog, impl FnOnce() + Send) {
    let (queue, queued) = sync_channel(QUEUE_MAX);
    let hub = Arc::<Hub>::default();
    let formatter = Formatter { node, names, next: 0, hub: Arc::clone(&hub) };
    let journal = EventLog(Arc::clone(&hub));
    (Recorder { queue, hub }, journal, move || formatter.run(&queued))
}

impl Recorder {
    /// Records an event, without waiting. Routine events cost one load unless someone wants them.
    pub(crate) fn record(&self, event: &Event) {
        if is_routine(kind_of(event)) && !self.wants_routine() {
            return;
        }
        let queued = Queued { event: event.clone(), at: SystemTime::now() };
        if self.queue.try_send(queued).is_err() {
            self.hub.missed.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn wants_routine(&self) -> bool {
        self.hub.routine_wanted.load(Ordering::Relaxed) > 0 || tracing::enabled!(Level::DEBUG)
    }
}

struct Formatter {
    node: String,
    names: NodeNames,
    next: u64,
    hub: Arc<Hub>,
}

impl Formatter {
    fn run(mut self, queued: &Receiver<Queued>) {
        while let Ok(queued) = queued.recv() {
            self.publish(queued);
            let missed = self.hub.missed.swap(0, Ordering::Relaxed);
            if missed > 0 {
                warn!(missed, "events came faster than they could be logged");
            }
        }
    }

    fn publish(&mut self, Queued { event, at }: Queued) {
        let kind = kind_of(&event);
        let text = self.names.put_into(format!("{} {event}", self.node));
        match event {
            _ if is_routine(kind) => debug!(kind, "{text}"),
            _ => info!(kind, "{text}"),
        }
        let since_epoch = at.duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_ms = u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX);
        let (id, node, source) = (self.next, self.node.clone(), event.reference());
        self.next += 1;
        let record = EventRecord { id, at_ms, node, kind, text, source };
        let json = serde_json::to_string(&record).unwrap_or_default();
        self.hub.publish(Arc::new(Recorded { id, json }), is_routine(kind));
    }
}

impl Hub {
    fn feed(&self) -> MutexGuard<'_, Feed> {
        self.feed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, record: Arc<Recorded>, is_routine: bool) {
        let mut feed = self.feed();
        if !is_routine {
            if feed.recent.len() == RECENT_MAX {
                feed.recent.pop_front();
            }
            feed.recent.push_back(Arc::clone(&record));
        }
        feed.subscribers.retain(|subscriber| {
            let is_wanted = !is_routine || subscriber.detail == Detail::All;
            // A full queue ends the subscription: the client does not read.
            !is_wanted || subscriber.queue.try_send(Arc::clone(&record)).is_ok()
        });
        self.count_wishes(&feed);
    }

    fn count_wishes(&self, feed: &Feed) {
        let all = feed.subscribers.iter().filter(|subscriber| subscriber.detail == Detail::All);
        self.routine_wanted.store(all.count(), Ordering::Relaxed);
    }
}

impl EventLog {
    /// Subscribes to the latest decisions and those to come.
    ///
    /// # Errors
    ///
    /// [`TooManySubscribers`].
    pub(crate) fn subscribe(&self, detail: Detail) -> Result<Subscription, TooManySubscribers> {
        let mut feed = self.0.feed();
        feed.subscribers.retain(|subscriber| !subscriber.queue.is_closed());
        if feed.subscribers.len() >= SUBSCRIBERS_MAX {
            return Err(TooManySubscribers);
        }
        let (sender, queue) = mpsc::channel(SUBSCRIBER_QUEUE_MAX);
        feed.subscribers.push(Subscriber { detail, queue: sender });
        self.0.count_wishes(&feed);
        Ok(Subscription { recent: feed.recent.clone(), queue })
    }
}

impl Subscription {
    /// Returns the next event, or none if the subscription has ended.
    pub(crate) async fn next(&mut self) -> Option<Arc<Recorded>> {
        match self.recent.pop_front() {
            Some(record) => Some(record),
            None => self.queue.recv().await,
        }
    }
}

fn is_routine(kind: &str) -> bool {
    matches!(kind, "replication" | "read" | "commit")
}

fn kind_of(event: &Event) -> &'static str {
    match event {
        // The network is slow, or the leader busy, and nothing is wrong.
        Event::MessageIgnored {
            reason:
                IgnoreReason::StaleResponse
                | IgnoreReason::NotLeader
                | IgnoreReason::WrongTerm
                | IgnoreReason::Overloaded,
            ..
        } => "replication",
        Event::CommitAdvanced { .. } => "commit",
        Event::ReadRoundStarted { .. } | Event::ReadConfirmed { .. } => "read",
        Event::Stopped { .. } | Event::DiskFull { .. } | Event::MessageIgnored { .. } => "fault",
        Event::Proposed { .. }
        | Event::EntriesAppended { .. }
        | Event::EntriesTruncated { .. }
        | Event::AppendRefused { .. }
        | Event::Backtracked { .. }
        | Event::MatchAdvanced { .. }
        | Event::LogPersisted { .. } => "replication",
        Event::SnapshotTaken { .. }
        | Event::SnapshotSent { .. }
        | Event::SnapshotReceiveStarted { .. }
        | Event::SnapshotInstalled { .. }
        | Event::SnapshotDamaged { .. } => "snapshot",
        _ => "election",
    }
}

#[cfg(test)]
mod tests {
    use raft_core::{LogId, LogIndex, NodeId, Term};
    use serde_json::Value;

    use super::*;

    fn elected(term: u64) -> Event {
        Event::LeaderRecognized { term: Term(term), leader: NodeId(77) }
    }

    fn routine(index: u64) -> Event {
        Event::Proposed { entry: LogId::new(Term(1), LogIndex(index)) }
    }

    fn start() -> (Recorder, EventLog, Formatter, Receiver<Queued>) {
        let names = NodeNames::new([(NodeId(77), "localhost:2".to_owned())]);
        names.set(NodeId(77), "node2".to_owned());
        let (queue, queued) = sync_channel(QUEUE_MAX);
        let hub = Arc::<Hub>::default();
        let recorder = Recorder { queue, hub: Arc::clone(&hub) };
        let formatter = Formatter { node: "node1".into(), names, next: 0, hub: Arc::clone(&hub) };
        (recorder, EventLog(hub), formatter, queued)
    }

    fn publish_all(formatter: &mut Formatter, queued: &Receiver<Queued>) -> usize {
        let waiting: Vec<_> = queued.try_iter().collect();
        let count = waiting.len();
        waiting.into_iter().for_each(|queued| formatter.publish(queued));
        count
    }

    /// What a subscriber has got by now.
    fn received(subscription: &mut Subscription) -> Vec<Value> {
        let mut records: Vec<_> = subscription.recent.drain(..).collect();
        while let Ok(record) = subscription.queue.try_recv() {
            records.push(record);
        }
        records.iter().map(|record| serde_json::from_str(&record.json).unwrap()).collect()
    }

    #[test]
    fn subscriber_gets_every_decision_once_and_with_the_names_of_nodes() {
        let (recorder, journal, mut formatter, queued) = start();
        recorder.record(&elected(1));
        publish_all(&mut formatter, &queued);
        let mut subscription = journal.subscribe(Detail::Decisions).unwrap();
        recorder.record(&elected(2));
        publish_all(&mut formatter, &queued);
        let records = received(&mut subscription);
        let texts: Vec<_> = records.iter().map(|record| record["text"].as_str().unwrap()).collect();
        let expected = [1, 2].map(|term| format!("node1 follows node2, the leader of term {term}"));
        assert_eq!(texts, expected);
        assert_eq!([&records[0]["id"], &records[1]["id"]], [0, 1]);
    }

    #[test]
    fn routine_events_are_recorded_only_if_a_subscriber_asks_for_them() {
        let (recorder, journal, mut formatter, queued) = start();
        let mut decisions = journal.subscribe(Detail::Decisions).unwrap();
        recorder.record(&routine(1));
        assert_eq!(publish_all(&mut formatter, &queued), 0);
        let mut all = journal.subscribe(Detail::All).unwrap();
        recorder.record(&routine(2));
        assert_eq!(publish_all(&mut formatter, &queued), 1);
        assert_eq!(received(&mut all).len(), 1);
        assert!(received(&mut decisions).is_empty());
        drop(all);
        recorder.record(&routine(3));
        publish_all(&mut formatter, &queued);
        recorder.record(&routine(4));
        assert_eq!(publish_all(&mut formatter, &queued), 0);
    }

    #[test]
    fn subscriber_that_does_not_read_is_dropped() {
        let (recorder, journal, mut formatter, queued) = start();
        let mut stalled = journal.subscribe(Detail::All).unwrap();
        for index in 0..=SUBSCRIBER_QUEUE_MAX as u64 {
            recorder.record(&routine(index));
        }
        publish_all(&mut formatter, &queued);
        assert!(journal.0.feed().subscribers.is_empty());
        assert_eq!(received(&mut stalled).len(), SUBSCRIBER_QUEUE_MAX);
        assert!(stalled.queue.is_closed());
        recorder.record(&routine(0));
        assert_eq!(publish_all(&mut formatter, &queued), 0);
    }

    #[test]
    fn surplus_subscriber_is_refused_until_another_one_leaves() {
        let (_recorder, journal, ..) = start();
        let subscribe = || journal.subscribe(Detail::Decisions);
        let mut subscribed: Vec<_> = (0..SUBSCRIBERS_MAX).map(|_| subscribe().unwrap()).collect();
        assert!(subscribe().is_err());
        subscribed.pop();
        assert!(subscribe().is_ok());
    }

    #[test]
    fn events_beyond_the_queue_are_dropped_without_waiting() {
        let (recorder, _journal, _formatter, _queued) = start();
        for term in 0..QUEUE_MAX as u64 + 3 {
            recorder.record(&elected(term));
        }
        assert_eq!(recorder.hub.missed.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn thread_publishes_everything_before_it_ends() {
        let names = NodeNames::new([]);
        let (recorder, journal, run) = new("node1".into(), names);
        (0..100).for_each(|term| recorder.record(&elected(term)));
        drop(recorder);
        run();
        assert_eq!(journal.0.feed().recent.len(), 100);
    }
}
