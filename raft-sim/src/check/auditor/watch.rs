//! The check of the changes that a watcher receives.

use raft_kv::{Changes, KeyRange};

use crate::check::Checked;
use crate::check::auditor::{Auditor, FIRST_CHANGE_REVISION};
use crate::check::invariants::Invariant;

impl Auditor {
    /// Checks a batch that a watcher of these keys received from revision `from` on. The batch must
    /// contain all changes up to its end, revision by revision.
    pub(crate) fn check_watch(
        &self,
        keys: &KeyRange,
        prev_kv: bool,
        from: i64,
        batch: &Changes,
    ) -> Checked {
        let violated = |text| Err((Invariant::WatchOrder, text));
        let (to, latest) = (batch.next_revision - 1, self.revision());
        if to > latest {
            return violated(format!(
                "the batch ends at revision {to}; the latest revision is {latest}"
            ));
        }
        let mut revisions = batch.revisions.iter().peekable();
        if let Some(first) = revisions.next_if(|received| received.revision < from) {
            let revision = first.revision;
            return violated(format!("the batch contains revision {revision}; expected {from}"));
        }
        let skipped = usize::try_from(from - FIRST_CHANGE_REVISION).unwrap_or(0);
        let expected = self.history.iter_from(skipped);
        for (revision, changes) in (from.max(FIRST_CHANGE_REVISION)..=to).zip(expected) {
            let mut changes = changes.iter().filter(|change| keys.contains(&change.key));
            let events = match revisions.next_if(|received| received.revision == revision) {
                Some(received) => &received.events[..],
                None => &[],
            };
            if events.is_empty() && changes.next().is_some() {
                return violated(format!("the batch lacks revision {revision}"));
            }
            let mut events = events.iter();
            while let (change, event) = (changes.next(), events.next())
                && (change.is_some() || event.is_some())
            {
                let matches = change
                    .zip(event)
                    .is_some_and(|(change, event)| change.matches(event, prev_kv, revision));
                if !matches {
                    return violated(format!(
                        "an event of revision {revision} differs from what was committed: {event:?}"
                    ));
                }
            }
        }
        match revisions.next() {
            Some(received) => violated(format!("revision {} is out of order", received.revision)),
            None => Ok(()),
        }
    }
}
