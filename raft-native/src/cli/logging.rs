//! The log on standard error. Logging never waits for the reader of the log.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::io::{IsTerminal, Write as _};
use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{DefaultFields, Format, Full, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// The log of this process.
pub(super) struct Logging {
    writer: NonBlocking,
    guard: WorkerGuard,
}

/// The capacity of the queue of lines. When the queue is full, new lines are dropped and counted.
const LINES_MAX: usize = 4096;
/// The end of the process waits at most this long for the reader of the log.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(2);

impl Logging {
    /// Starts the log. The variable `RAFT_LOG` sets the levels. The default is `default`.
    pub(super) fn start(default: LevelFilter) -> Self {
        let configured = std::env::var("RAFT_LOG").ok().and_then(|levels| levels.parse().ok());
        let filter: Targets = configured.unwrap_or_else(|| Targets::new().with_default(default));
        let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_MAX);
        let (writer, guard) = builder.thread_name("raft-log").finish(std::io::stderr());
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(writer.clone())
            .with_ansi(std::io::stderr().is_terminal())
            // The formatter returns an error for a suppressed line.
            .log_internal_errors(false)
            .event_format(Limited::new(Format::default().with_target(false)))
            .with_filter(filter);
        tracing_subscriber::registry().with(layer).init();
        Self { writer, guard }
    }

    /// Writes a line without a time and a level.
    pub(super) fn print(&mut self, line: fmt::Arguments<'_>) {
        let _ = self.writer.write_all(format!("{line}\n").as_bytes());
    }

    /// Returns a function that returns the number of dropped lines.
    pub(super) fn dropped_lines(&self) -> impl Fn() -> u64 + Send + Sync + use<> {
        let counter = self.writer.error_counter();
        move || counter.dropped_lines() as u64
    }

    /// Writes the remaining lines, if the reader takes them in time.
    pub(super) fn finish(self) {
        let guard = self.guard;
        wait_at_most(FLUSH_TIME_MAX, move || drop(guard));
    }
}

/// Prints the last line of the process, if the reader of standard error reads it in time.
pub(super) fn print_last_line(line: String) {
    wait_at_most(FLUSH_TIME_MAX, move || eprintln!("{line}"));
}

fn wait_at_most(time: Duration, work: impl FnOnce() + Send + 'static) {
    let (done, wait) = channel();
    let worker = thread::Builder::new().name("raft-exit".to_owned()).spawn(move || {
        work();
        let _ = done.send(());
    });
    if worker.is_ok() {
        let _ = wait.recv_timeout(time);
    }
}

/// Formats log lines, and suppresses lines of a kind that is repeated too often.
///
/// Two lines are of the same kind if they differ only in numbers. Lines with different values of
/// the field `ip` are of different kinds.
struct Limited {
    format: Format<Full>,
    kinds: Mutex<Kinds>,
}

impl Limited {
    fn new(format: Format<Full>) -> Self {
        Self { format, kinds: Mutex::default() }
    }
}

impl<S> FormatEvent<S, DefaultFields> for Limited
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, DefaultFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // Detailed levels are enabled on purpose, and are never suppressed.
        if *event.metadata().level() > Level::INFO {
            return self.format.format_event(context, writer, event);
        }
        let mut kind = Kind(event.metadata().level().to_string());
        event.record(&mut kind);
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let suppressed = kinds.admit(kind.0, Instant::now()).ok_or(fmt::Error)?;
        drop(kinds);
        if suppressed > 0 {
            writeln!(writer, "({suppressed} lines like the next one were suppressed)")?;
        }
        self.format.format_event(context, writer, event)
    }
}

/// The kind of a line: the text of the event without numbers.
struct Kind(String);

impl Visit for Kind {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let start = self.0.len();
        let _ = write!(self.0, " {}={value:?}", field.name());
        if field.name() != "ip" {
            let kept = self.0.split_off(start);
            self.0.extend(kept.chars().filter(|c| !c.is_ascii_digit()));
        }
    }
}

/// The repetitions of each kind of line.
#[derive(Default)]
struct Kinds(HashMap<String, Repetition>);

struct Repetition {
    window_start: Instant,
    window: Duration,
    left: u32,
    suppressed: u64,
}

/// The number of lines of one kind in the first window.
const BURST: u32 = 10;
/// The duration of the first window. Each later window is twice as long, until the lines stop.
const WINDOW_MIN: Duration = Duration::from_secs(60);
const WINDOW_MAX: Duration = Duration::from_secs(60 * 60);
/// The number of kinds with a limit of their own. Further kinds share one limit.
const KINDS_MAX: usize = 256;
/// The beginning of the address of a remote host in a kind.
const IP_FIELD: &str = " ip=";

impl Kinds {
    /// Returns the number of suppressed lines of the kind before this line, or `None` if this line
    /// is suppressed.
    fn admit(&mut self, kind: String, now: Instant) -> Option<u64> {
        let kind = if self.0.contains_key(&kind) { kind } else { self.entry_for(kind, now) };
        let first =
            Repetition { window_start: now, window: WINDOW_MIN, left: BURST, suppressed: 0 };
        let repetition = self.0.entry(kind).or_insert(first);
        repetition.admit(now)
    }

    /// Returns the entry that counts a new kind.
    fn entry_for(&mut self, kind: String, now: Instant) -> String {
        // Without a limit of their own, packets from many addresses would suppress all other lines.
        let has_ip = |kind: &str| kind.contains(IP_FIELD);
        let (is_remote, kinds_max) =
            if has_ip(&kind) { (true, KINDS_MAX / 2) } else { (false, KINDS_MAX) };
        let is_full = |kinds: &HashMap<String, Repetition>| {
            let counted = kinds.keys().filter(|kind| !is_remote || has_ip(kind));
            counted.count() >= kinds_max
        };
        if is_full(&self.0) {
            self.0.retain(|_, kind| !kind.is_old(now));
        }
        match (is_full(&self.0), is_remote) {
            (false, _) => kind,
            (true, true) => IP_FIELD.to_owned(),
            (true, false) => String::new(),
        }
    }
}

impl Repetition {
    /// Returns true if no line was logged for so long that the entry can be removed.
    fn is_old(&self, now: Instant) -> bool {
        let windows = if self.suppressed > 0 { 2 } else { 1 };
        now.saturating_duration_since(self.window_start) >= self.window * windows
    }

    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.window_start) >= self.window
    }

    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.is_over(now) {
            self.window_start = now;
            if self.suppressed > 0 {
                self.window = (self.window * 2).min(WINDOW_MAX);
                self.left = 1;
            } else {
                self.window = WINDOW_MIN;
                self.left = BURST;
            }
        }
        if self.left == 0 {
            self.suppressed += 1;
            return None;
        }
        self.left -= 1;
        Some(std::mem::take(&mut self.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_lines_become_a_summary() {
        let start = Instant::now();
        let mut kinds = Kinds::default();
        let mut logged = Vec::new();
        // Two lines a second for a day.
        for half in 0..2 * 86_400_u64 {
            let now = start + Duration::from_millis(500 * half);
            logged.extend(kinds.admit("hears no leader".to_owned(), now));
        }
        assert!(logged.len() < 50, "{} lines", logged.len());
        let counted = logged.len() as u64 + logged.iter().sum::<u64>();
        assert!(counted > 2 * 82_000, "a summary counts what was suppressed: {counted}");
        // After a quiet period, lines are logged again.
        let later = start + Duration::from_secs(86_400 + 3 * 3_600);
        kinds.admit("hears no leader".to_owned(), later);
        let later = later + 2 * WINDOW_MAX;
        let logged = (0..BURST).filter_map(|_| kinds.admit("hears no leader".to_owned(), later));
        assert_eq!(logged.count(), BURST as usize);
    }

    #[test]
    fn packets_from_many_addresses_do_not_suppress_other_lines() {
        let now = Instant::now();
        let mut kinds = Kinds::default();
        for address in 0..1_000 {
            for _ in 0..=BURST {
                kinds.admit(format!("WARN ip=10.0.0.{address}"), now);
            }
        }
        for kind in 0..20 {
            for _ in 0..BURST {
                assert_eq!(kinds.admit(format!("INFO event {kind}"), now), Some(0));
            }
        }
        assert!(kinds.0.len() <= KINDS_MAX + 2);
    }

    #[test]
    fn suppressed_kinds_are_forgotten_when_their_lines_stop() {
        let now = Instant::now();
        let mut kinds = Kinds::default();
        for kind in 0..KINDS_MAX {
            for _ in 0..=BURST {
                kinds.admit(format!("WARN {kind}"), now);
            }
        }
        let later = now + 2 * WINDOW_MIN;
        for kind in 0..20 {
            for _ in 0..BURST {
                assert_eq!(kinds.admit(format!("INFO {kind}"), later), Some(0));
            }
        }
    }

    #[test]
    fn unlimited_kinds_of_lines_take_limited_memory_and_lines() {
        let now = Instant::now();
        let mut kinds = Kinds::default();
        let admitted = (0..100_000).filter(|n| kinds.admit(format!("ip={n}"), now).is_some());
        assert!(admitted.count() <= KINDS_MAX + BURST as usize);
        assert!(kinds.0.len() <= KINDS_MAX + 1);
    }
}
