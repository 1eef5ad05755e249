//! The events of a node as text, for its log and for subscribers.
//!
//! The consensus loop only puts events into a queue. The event thread formats each event once, logs
//! it and sends it to the subscribers.

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

/// An event as JSON.
#[derive(Debug, Serialize)]
struct EventRecord {
    /// The number of the event since the start of the node, from 0.
    id: u64,
    /// The Unix time in milliseconds.
    at_ms: u64,
    /// The name of the node.
    node: String,
    /// The kind: `election`, `replication`, `commit`, `read`, `snapshot` or `fault`.
    kind: &'static str,
    /// A sentence that begins with the name of the node.
    text: String,
    /// The section of the paper or of the dissertation with the rule.
    source: &'static str,
}

/// An event as it is sent to subscribers.
#[derive(Debug)]
pub(crate) struct Recorded {
    pub(crate) id: u64,
    pub(crate) json: String,
}

/// The events that a subscriber gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Detail {
    /// Only elections, snapshots and faults.
    #[default]
    Decisions,
    /// Also the routine events of each entry and each read.
    All,
}

/// The sender of the queue of events. The event thread ends when it is dropped.
pub(crate) struct Recorder {
    queue: SyncSender<Queued>,
    hub: Arc<Hub>,
}

struct Queued {
    event: Event,
    at: SystemTime,
}

/// The latest events and the subscribers.
#[derive(Clone)]
pub(crate) struct EventLog(Arc<Hub>);

#[derive(Default)]
struct Hub {
    feed: Mutex<Feed>,
    /// The number of subscribers to [`Detail::All`].
    routine_wanted: AtomicUsize,
    /// The number of events that were dropped because the queue was full.
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

/// The events of one subscriber: first the latest ones, then future ones. The subscription ends if
/// the subscriber does not keep up.
pub(crate) struct Subscription {
    recent: VecDeque<Arc<Recorded>>,
    queue: mpsc::Receiver<Arc<Recorded>>,
}

/// The limit of subscribers is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("overloaded: {SUBSCRIBERS_MAX} clients read the events already; retry later")]
pub(crate) struct TooManySubscribers;

/// The number of latest events that are stored, without routine events.
const RECENT_MAX: usize = 500;
/// The number of subscribers at a time.
pub(crate) const SUBSCRIBERS_MAX: usize = 8;
/// The capacity of the queue of a subscriber. When it is full, the subscription ends.
const SUBSCRIBER_QUEUE_MAX: usize = 1024;
/// The capacity of the queue of events. When it is full, events are dropped and counted.
const QUEUE_MAX: usize = 4096;

/// Makes an event log. The caller runs the returned function on a thread of its own.
pub(crate) fn new(node: String, names: NodeNames) -> (Recorder, EventLog, impl FnOnce() + Send) {
    let (queue, queued) = sync_channel(QUEUE_MAX);
    let hub = Arc::<Hub>::default();
    let formatter = Formatter { node, names, next: 0, hub: Arc::clone(&hub) };
    let log = EventLog(Arc::clone(&hub));
    (Recorder { queue, hub }, log, move || formatter.run(&queued))
}

impl Recorder {
    /// Records an event without waiting. Without subscribers to [`Detail::All`], a routine event
    /// costs one atomic load.
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
            // A full queue ends the subscription, because the client does not read.
            !is_wanted || subscriber.queue.try_send(Arc::clone(&record)).is_ok()
        });
        self.count_routine_subscribers(&feed);
    }

    fn count_routine_subscribers(&self, feed: &Feed) {
        let all = feed.subscribers.iter().filter(|subscriber| subscriber.detail == Detail::All);
        self.routine_wanted.store(all.count(), Ordering::Relaxed);
    }
}

impl EventLog {
    /// Subscribes to the latest events and to future ones.
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
        self.0.count_routine_subscribers(&feed);
        Ok(Subscription { recent: feed.recent.clone(), queue })
    }
}

impl Subscription {
    /// Returns the next event, or `None` if the subscription has ended.
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
        // A slow network or a busy leader causes these, and they are not faults.
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

    /// The events that a subscriber has received.
    fn received(subscription: &mut Subscription) -> Vec<Value> {
        let mut records: Vec<_> = subscription.recent.drain(..).collect();
        while let Ok(record) = subscription.queue.try_recv() {
            records.push(record);
        }
        records.iter().map(|record| serde_json::from_str(&record.json).unwrap()).collect()
    }

    #[test]
    fn subscriber_gets_each_event_once_with_node_names() {
        let (recorder, log, mut formatter, queued) = start();
        recorder.record(&elected(1));
        publish_all(&mut formatter, &queued);
        let mut subscription = log.subscribe(Detail::Decisions).unwrap();
        recorder.record(&elected(2));
        publish_all(&mut formatter, &queued);
        let records = received(&mut subscription);
        let texts: Vec<_> = records.iter().map(|record| record["text"].as_str().unwrap()).collect();
        let expected = [1, 2].map(|term| format!("node1 follows node2, the leader of term {term}"));
        assert_eq!(texts, expected);
        assert_eq!([&records[0]["id"], &records[1]["id"]], [0, 1]);
    }

    #[test]
    fn routine_events_are_recorded_only_for_their_subscribers() {
        let (recorder, log, mut formatter, queued) = start();
        let mut decisions = log.subscribe(Detail::Decisions).unwrap();
        recorder.record(&routine(1));
        assert_eq!(publish_all(&mut formatter, &queued), 0);
        let mut all = log.subscribe(Detail::All).unwrap();
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
        let (recorder, log, mut formatter, queued) = start();
        let mut stalled = log.subscribe(Detail::All).unwrap();
        for index in 0..=SUBSCRIBER_QUEUE_MAX as u64 {
            recorder.record(&routine(index));
        }
        publish_all(&mut formatter, &queued);
        assert!(log.0.feed().subscribers.is_empty());
        assert_eq!(received(&mut stalled).len(), SUBSCRIBER_QUEUE_MAX);
        assert!(stalled.queue.is_closed());
        recorder.record(&routine(0));
        assert_eq!(publish_all(&mut formatter, &queued), 0);
    }

    #[test]
    fn surplus_subscriber_is_refused_until_another_one_leaves() {
        let (_recorder, log, ..) = start();
        let subscribe = || log.subscribe(Detail::Decisions);
        let mut subscribed: Vec<_> = (0..SUBSCRIBERS_MAX).map(|_| subscribe().unwrap()).collect();
        assert!(subscribe().is_err());
        subscribed.pop();
        assert!(subscribe().is_ok());
    }

    #[test]
    fn events_beyond_the_queue_are_dropped_without_waiting() {
        let (recorder, _log, _formatter, _queued) = start();
        for term in 0..QUEUE_MAX as u64 + 3 {
            recorder.record(&elected(term));
        }
        assert_eq!(recorder.hub.missed.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn thread_publishes_everything_before_it_ends() {
        let names = NodeNames::new([]);
        let (recorder, log, run) = new("node1".into(), names);
        (0..100).for_each(|term| recorder.record(&elected(term)));
        drop(recorder);
        run();
        assert_eq!(log.0.feed().recent.len(), 100);
    }
}
