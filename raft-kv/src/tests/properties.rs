//! Comparison with the reference model, with random batches and crashes.

use alloc::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::model::Model;
use super::strategy::{Step, key, keys, lease, range, step};
use crate::apply::Capacity;
use crate::{
    ChangesRequest, Command, Entry, Kv, Malformed, MemoryStore, Outcome, Payload, Rejection,
    RevisionChanges, Session,
};

pub(super) const CAPACITY: Capacity =
    Capacity { sessions: 3, leases: 4, lease_keys: 2, answer_bytes: 1 << 20 };

fn open(store: MemoryStore) -> Kv<MemoryStore> {
    Kv::open_with(store, CAPACITY).unwrap()
}

/// The log of the steps, and the outcomes of the model.
pub(super) fn run_model(steps: &[Step]) -> (Model, Vec<Entry>, Vec<Outcome>) {
    let mut model = Model::new(CAPACITY);
    let mut commands: Vec<Command> = Vec::new();
    let mut entries = Vec::new();
    let mut outcomes = Vec::new();
    for (index, step) in (1..).zip(steps) {
        let command = match step {
            Step::Command(command) => Some(command.clone()),
            Step::Retry(which) if commands.is_empty() => {
                let _ = which;
                None
            }
            Step::Retry(which) => Some(commands[which % commands.len()].clone()),
            Step::Begin(ago, request) => {
                let session = Session {
                    client: 1000 + u128::from(index),
                    sequence: 1,
                    since: (index - 1_u64).saturating_sub(*ago),
                };
                Some(Command::new(request.clone()).with_session(session))
            }
            Step::Noop | Step::Garbage(_) => None,
        };
        let (entry, outcome) = match (command, step) {
            (Some(command), _) => {
                let outcome = model.apply(index, &command);
                let entry = Entry::command(index, 1, command.encode());
                commands.push(command);
                (entry, outcome)
            }
            (None, Step::Garbage(bytes)) => (
                Entry::command(index, 1, bytes.clone()),
                Outcome::Rejected(Rejection::Malformed(Malformed::Undecodable)),
            ),
            (None, _) => (Entry::noop(index, 1), Outcome::Noop),
        };
        entries.push(entry);
        outcomes.push(outcome);
    }
    (model, entries, outcomes)
}

/// The model does not contain the order of the changes of a command.
fn sort(changes: &mut RevisionChanges) {
    { &mut changes.events }.sort_by(|one, other| one.kv.key.cmp(&other.kv.key));
}

proptest! {
    #[test]
    fn agrees_with_the_model_through_batches_and_crashes(
        steps in vec(step(), 1..60),
        // The number of entries in a batch, and whether a crash loses the batch.
        batches in vec((1..7_usize, prop::bool::weighted(0.2)), 1..20),
        reads in vec(range(), 1..12),
        read_key in key(),
        read_lease in lease(),
        watched in (keys(), 1..9_i64, 1..6_usize, 0..4_usize),
    ) {
        let (model, entries, outcomes) = run_model(&steps);
        let mut kv = open(MemoryStore::new());
        for (length, crash) in batches.into_iter().cycle() {
            let from = kv.applied_index() as usize;
            if from == entries.len() {
                break;
            }
            let to = entries.len().min(from + length);
            let before = kv.store().clone();
            let applied = kv.apply_batch(entries[from..to].iter().cloned()).unwrap();
            prop_assert_eq!(&applied, &outcomes[from..to]);
            // Entries after `applied` are delivered again after a crash. A batch of one entry is
            // never lost, so that the run ends.
            kv = open(if crash && length > 1 { before } else { kv.into_store() });
            if crash && length > 1 {
                prop_assert_eq!(kv.applied_index() as usize, from);
                kv.apply(entries[from].clone()).unwrap();
            }
        }
        kv.audit().unwrap();
        prop_assert_eq!(kv.revision(), model.revision());

        // The same log in one batch results in the same store, byte by byte.
        let mut at_once = open(MemoryStore::new());
        at_once.apply_batch(entries).unwrap();
        prop_assert_eq!(at_once.fingerprint(), kv.fingerprint());
        prop_assert_eq!(at_once.store(), kv.store());

        prop_assert_eq!(kv.view().leases().unwrap(), model.leases());
        let attached = kv.view().lease_keys(read_lease, usize::MAX).unwrap();
        prop_assert_eq!(attached, match read_lease {
            0 => Vec::new(),
            lease => model.lease_keys(lease),
        });

        // A watch in batches, each at another replica.
        let (watched, mut from, changes_max, bytes_max) = watched;
        from = from.min(model.revision() + 1);
        let mut expected = model.changes(&watched, from);
        expected.iter_mut().for_each(sort);
        let mut seen = Vec::new();
        while from <= model.revision() {
            let mut request = ChangesRequest::new(watched.clone(), from).returning_previous();
            (request.changes_max, request.bytes_max) = (changes_max, bytes_max);
            let replica = if from % 2 == 0 { &kv } else { &at_once };
            let found = replica.changes(&request).unwrap();
            prop_assert!(found.next_revision > from);
            prop_assert_eq!(found.revision, model.revision());
            from = found.next_revision;
            seen.extend(found.revisions);
        }
        seen.iter_mut().for_each(sort);
        prop_assert_eq!(seen, expected);

        for revision in 1..=model.revision() {
            let expected = model.get(&read_key, revision);
            prop_assert_eq!(kv.get(&read_key, Some(revision)).unwrap(), expected);
        }
        for mut read in reads {
            read.revision = read.revision.filter(|revision| *revision <= model.revision());
            prop_assert_eq!(kv.range(&read).unwrap(), model.range(&read));
            for revision in 1..=model.revision() {
                let read = read.clone().at_revision(revision);
                prop_assert_eq!(kv.range(&read).unwrap(), model.range(&read));
            }
        }
    }

    #[test]
    fn only_a_newer_version_stops_a_replica(
        bytes in vec(any::<u8>(), 0..64),
        step in step(),
        at in any::<prop::sample::Index>(),
        by in any::<u8>(),
    ) {
        let mut damaged = match run_model(&[step]).1.remove(0).payload {
            Payload::Command(command) => command.to_vec(),
            Payload::Noop => Vec::new(),
        };
        if !damaged.is_empty() {
            let at = at.index(damaged.len());
            damaged[at] ^= by;
        }
        for bytes in [bytes, damaged] {
            let mut kv = open(MemoryStore::new());
            match kv.apply(Entry::command(1, 1, bytes)) {
                Ok(_) => prop_assert_eq!(kv.applied_index(), 1),
                Err(crate::ApplyError::UnknownCommand { found, .. }) => prop_assert!(found > 3),
                Err(other) => prop_assert!(false, "{other}"),
            }
            kv.audit().unwrap();
        }
    }

    #[test]
    fn a_damaged_store_is_an_error_at_worst(
        steps in vec(step(), 1..20),
        which in any::<prop::sample::Index>(),
        garbage in vec(any::<u8>(), 0..16),
        more in vec(step(), 1..6),
        read in range(),
    ) {
        let mut kv = open(MemoryStore::new());
        kv.apply_batch(run_model(&steps).1).unwrap();
        let mut pairs: Vec<_> = kv
            .store()
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let which = which.index(pairs.len());
        pairs[which].1 = garbage.into();
        if let Ok(mut kv) = Kv::open_with(pairs.into_iter().collect::<MemoryStore>(), CAPACITY) {
            let _ = kv.audit();
            let _ = kv.range(&read);
            let applied = kv.applied_index();
            for (index, mut entry) in (1..).zip(run_model(&more).1) {
                entry.id.index = applied.saturating_add(index);
                let _ = kv.apply(entry);
            }
        }
    }
}
