//! What the committed commands come to, reckoned beside the servers: every change of every key, and which keys hang on
//! which lease. Watchers and leases are judged by it.
//!
//! It is kept from the commands and their outcomes alone, by whoever applies an entry first; nothing is read from a
//! server's state machine but what is to be judged.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft_kv::{
    Changes, ChangesRequest, Command, Event, EventKind, KeyRange, Lease, Op, Outcome, Put, Request,
    RequestResult,
};

use crate::invariants::Invariant;
use crate::shared::SharedList;

#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    is_kept: bool,
    /// The last entry that it knows of.
    index: u64,
    /// What each key holds that is there.
    keys: BTreeMap<Bytes, Held>,
    /// The leases that there are.
    leases: BTreeMap<i64, Lease>,
    /// What each revision changed, from revision 2 on.
    history: SharedList<Vec<Change>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Held {
    value: Bytes,
    lease: i64,
}

/// What became of a key.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Change {
    key: Bytes,
    before: Option<Held>,
    after: Option<Held>,
}

/// What an entry did that is of interest beyond the keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Turn {
    Nothing,
    /// A lease began.
    Began(Lease),
    /// A lease ended, because a leader found that its time was over, or because a client wanted it.
    Ended {
        lease: Lease,
        has_expired: bool,
    },
}

pub(crate) type Checked<T> = Result<T, (Invariant, String)>;

/// Nothing happens in an empty state machine before this revision.
const FIRST: i64 = 2;

impl Ledger {
    pub(crate) fn new(is_kept: bool) -> Self {
        Self {
            is_kept,
            ..Self::default()
        }
    }

    /// Whether an entry is one that it does not know of yet.
    pub(crate) fn wants(&self, index: u64) -> bool {
        self.is_kept && index == self.index + 1
    }

    /// Whether there is any lease.
    pub(crate) fn has_leases(&self) -> bool {
        !self.leases.is_empty()
    }

    /// The latest revision that any server has made.
    pub(crate) fn revision(&self) -> i64 {
        self.history.len() as i64 + FIRST - 1
    }

    /// An entry was applied for the first time. `revision` is the one of the state machine after it, and `told` answers
    /// what the state machine says that it changed.
    pub(crate) fn enter(
        &mut self,
        index: u64,
        command: Option<&Command>,
        outcome: &Outcome,
        revision: i64,
        told: impl FnOnce(&ChangesRequest) -> Option<Changes>,
    ) -> Checked<Turn> {
        self.index = index;
        let (Some(command), Outcome::Done(response)) = (command, outcome) else {
            return self.made(Vec::new(), revision).map(|()| Turn::Nothing);
        };
        // An outcome is repeated, without effect, when a client has asked again.
        match (&command.request, &response.result) {
            (Request::Grant(_), RequestResult::Grant(grant)) => {
                let lease = grant.lease;
                if lease.granted_at != index {
                    return Ok(Turn::Nothing);
                }
                self.leases.insert(lease.id, lease);
                Ok(Turn::Began(lease))
            }
            (Request::Revoke(revoke), RequestResult::Revoke(ended)) => {
                let lease = ended.lease;
                if self.leases.get(&lease.id) != Some(&lease) {
                    return Ok(Turn::Nothing);
                }
                self.leases.remove(&lease.id);
                self.take_keys(lease, revision, told)?;
                Ok(Turn::Ended {
                    lease,
                    has_expired: revoke.expiry.is_some(),
                })
            }
            _ if revision == self.revision() => Ok(Turn::Nothing),
            (Request::Put(put), _) => {
                let changes = vec![self.put(put)?];
                self.made(changes, revision).map(|()| Turn::Nothing)
            }
            (Request::Delete(delete), _) => {
                let changes = self.delete(|key, _| delete.keys.contains(key));
                self.made(changes, revision).map(|()| Turn::Nothing)
            }
            (Request::Txn(txn), RequestResult::Txn(result)) => {
                let ops = match result.succeeded {
                    true => &txn.success,
                    false => &txn.failure,
                };
                let mut changes = Vec::new();
                for op in ops {
                    match op {
                        Op::Put(put) => changes.push(self.put(put)?),
                        Op::Delete(delete) => {
                            changes.extend(self.delete(|key, _| delete.keys.contains(key)));
                        }
                        Op::Range(_) => {}
                    }
                }
                self.made(changes, revision).map(|()| Turn::Nothing)
            }
            _ => {
                let text = format!("entry {index} has an outcome of another command");
                Err((Invariant::StateMachineSafety, text))
            }
        }
    }

    fn put(&mut self, put: &Put) -> Checked<Change> {
        if put.lease != 0 && !self.leases.contains_key(&put.lease) {
            let key = String::from_utf8_lossy(&put.key);
            let text = format!("{key} hangs on lease {}, which is gone", put.lease);
            return Err((Invariant::LeaseKeys, text));
        }
        let after = Held {
            value: put.value.clone(),
            lease: put.lease,
        };
        Ok(Change {
            key: put.key.clone(),
            before: self.keys.insert(put.key.clone(), after.clone()),
            after: Some(after),
        })
    }

    fn delete(&mut self, is_gone: impl Fn(&Bytes, &Held) -> bool) -> Vec<Change> {
        let gone = self.keys.extract_if(.., |key, held| is_gone(key, held));
        let change = |(key, held)| Change {
            key,
            before: Some(held),
            after: None,
        };
        gone.map(change).collect()
    }

    /// A lease has ended: all its keys must have gone, and nothing else, and in one revision.
    fn take_keys(
        &mut self,
        lease: Lease,
        revision: i64,
        told: impl FnOnce(&ChangesRequest) -> Option<Changes>,
    ) -> Checked<()> {
        let first = self.revision() + 1;
        let changes = self.delete(|_, held| held.lease == lease.id);
        let told = told(&ChangesRequest::new(KeyRange::all(), first).returning_previous());
        let told = told.map(|told| told.revisions).unwrap_or_default();
        let is_all = match &told[..] {
            [] => changes.is_empty(),
            [only] => {
                only.events.len() == changes.len()
                    && only.events.iter().zip(&changes).all(|(it, so)| so.is(it))
            }
            _ => false,
        };
        if !is_all {
            let events = told.iter().map(|it| it.events.len()).sum::<usize>();
            let text = format!(
                "lease {} ended with {} keys; {events} changed, in {} revisions",
                lease.id,
                changes.len(),
                told.len()
            );
            return Err((Invariant::LeaseKeys, text));
        }
        self.made(changes, revision)
    }

    /// These changes made this revision, or there were none.
    fn made(&mut self, changes: Vec<Change>, revision: i64) -> Checked<()> {
        let expected = self.revision() + i64::from(!changes.is_empty());
        if revision != expected {
            let text = format!(
                "entry {} leads to revision {revision}, where {expected} was to come",
                self.index
            );
            return Err((Invariant::StateMachineSafety, text));
        }
        if !changes.is_empty() {
            self.history.push(changes);
        }
        Ok(())
    }

    /// Whoever watches these keys from `from` on was told of this: it must be all that there was, revision by revision.
    pub(crate) fn judge(&self, keys: &KeyRange, from: i64, told: &Changes) -> Checked<()> {
        let broken = |text| Err((Invariant::WatchOrder, text));
        if told.next_revision - 1 > self.revision() {
            let (to, last) = (told.next_revision - 1, self.revision());
            return broken(format!(
                "it is told of all up to revision {to}, and the last one is {last}"
            ));
        }
        let mut revisions = told.revisions.iter().peekable();
        if let Some(first) = revisions.next_if(|it| it.revision < from) {
            let revision = first.revision;
            return broken(format!(
                "it is told of revision {revision}, and waited for {from}"
            ));
        }
        let skipped = usize::try_from(from - FIRST).unwrap_or(0);
        for (revision, made) in
            (from.max(FIRST)..told.next_revision).zip(self.history.iter_from(skipped))
        {
            let mut made = made.iter().filter(|it| keys.contains(&it.key));
            let events = match revisions.next_if(|it| it.revision == revision) {
                Some(it) => &it.events[..],
                None => &[],
            };
            if events.is_empty() && made.next().is_some() {
                return broken(format!("it is never told of revision {revision}"));
            }
            let mut events = events.iter();
            while let (made, event) = (made.next(), events.next())
                && (made.is_some() || event.is_some())
            {
                if !made.zip(event).is_some_and(|(made, event)| made.is(event)) {
                    return broken(format!(
                        "what it is told of revision {revision} is not what was committed: {event:?}"
                    ));
                }
            }
        }
        match revisions.next() {
            Some(it) => broken(format!("revision {} comes out of order", it.revision)),
            None => Ok(()),
        }
    }
}

impl Change {
    /// Whether an event tells of this change.
    fn is(&self, event: &Event) -> bool {
        let held = |kv: &raft_kv::KeyValue| Held {
            value: kv.value.clone(),
            lease: kv.lease,
        };
        let after = match event.kind {
            EventKind::Put => Some(held(&event.kv)),
            EventKind::Delete => None,
        };
        self.key == event.kv.key
            && self.after == after
            && self.before == event.prev_kv.as_ref().map(held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft_kv::{Delete, Entry, Grant, Kv, MemoryStore, RevisionChanges, Revoke, Txn};

    /// A state machine and its ledger.
    struct Both {
        kv: Kv<MemoryStore>,
        ledger: Ledger,
    }

    impl Both {
        fn new() -> Self {
            Self {
                kv: Kv::open(MemoryStore::new()).unwrap(),
                ledger: Ledger::new(true),
            }
        }

        /// Applies a command, and tells the ledger what became of it, or something else.
        fn apply_but(
            &mut self,
            request: impl Into<Request>,
            spoil: impl FnOnce(&mut Request, &mut Changes),
        ) -> Checked<Turn> {
            let mut command = Command::new(request);
            let index = self.kv.applied_index() + 1;
            let entry = Entry::command(index, 1, command.encode());
            let outcome = self.kv.apply(entry).unwrap();
            let mut changes = self.changes(self.ledger.revision() + 1);
            spoil(&mut command.request, &mut changes);
            let told = |_: &ChangesRequest| Some(changes);
            let revision = self.kv.revision();
            self.ledger
                .enter(index, Some(&command), &outcome, revision, told)
        }

        fn apply(&mut self, request: impl Into<Request>) -> Turn {
            self.apply_but(request, |_, _| {}).unwrap()
        }

        fn changes(&self, from: i64) -> Changes {
            let request = ChangesRequest::new(KeyRange::all(), from).returning_previous();
            self.kv.changes(&request).unwrap()
        }
    }

    fn hang(key: &'static str) -> Put {
        Put::new(key, "v").with_lease(7)
    }

    /// Lease 7 with two keys, after some other changes: revisions 2 to 6.
    fn both() -> Both {
        let mut both = Both::new();
        both.apply(Put::new("a", "1"));
        let lease = Grant { id: 7, ttl: 1 };
        assert!(matches!(both.apply(lease), Turn::Began(_)));
        both.apply(Txn {
            success: vec![Op::Put(Put::new("c", "1")), Op::Put(Put::new("a", "2"))],
            ..Txn::default()
        });
        both.apply(hang("l1"));
        both.apply(hang("l2"));
        both.apply(Delete::new(KeyRange::key("a")));
        both
    }

    type Spoil = fn(&mut Vec<RevisionChanges>);

    #[test]
    fn what_a_watcher_is_told_wrongly_is_found() {
        let both = both();
        let judge = |keys: &KeyRange, spoil: Spoil| {
            let mut changes = both.changes(2);
            spoil(&mut changes.revisions);
            both.ledger.judge(keys, 2, &changes)
        };
        let all = KeyRange::all();
        assert_eq!(judge(&all, |_| {}), Ok(()));
        let spoiled: [Spoil; 10] = [
            |told| told.swap(0, 1),
            |told| drop(told.remove(2)),
            |told| drop(told.pop()),
            |told| told.insert(1, told[0].clone()),
            |told| drop(told[1].events.pop()),
            |told| told[1].events.swap(0, 1),
            |told| {
                // A revision in two pieces.
                let rest = told[1].events.split_off(1);
                let revision = told[1].revision;
                let events = rest;
                told.insert(2, RevisionChanges { revision, events });
            },
            |told| told[0].events[0].kv.value = "2".into(),
            |told| told[4].events[0].prev_kv = None,
            |told| told[3].events[0].kv.lease = 0,
        ];
        for (number, spoil) in spoiled.iter().enumerate() {
            let found = judge(&all, *spoil).unwrap_err().0;
            assert_eq!(found, Invariant::WatchOrder, "{number}");
        }
        // It is told of what it did not ask for; or too early, or too late.
        let (one, told) = (KeyRange::key("c"), both.changes(2));
        assert!(both.ledger.judge(&one, 2, &told).is_err());
        assert!(both.ledger.judge(&all, 3, &told).is_err());
        assert!(both.ledger.judge(&all, 1, &told).is_ok());
        let mut beyond = both.changes(7);
        assert_eq!(both.ledger.judge(&all, 7, &beyond), Ok(()));
        beyond.next_revision += 1;
        assert!(both.ledger.judge(&all, 7, &beyond).is_err());
        assert!(
            both.ledger.judge(&all, 5, &both.changes(6)).is_err(),
            "5 is skipped"
        );
    }

    #[test]
    fn a_lease_that_does_not_take_all_its_keys_at_once_is_found() {
        let end = |spoil: fn(&mut Changes)| {
            let mut both = both();
            both.apply_but(Revoke::new(7), |_, changes| spoil(changes))
        };
        assert!(matches!(
            end(|_| {}),
            Ok(Turn::Ended {
                has_expired: false,
                ..
            })
        ));
        let spoiled: [fn(&mut Changes); 4] = [
            |told| told.revisions.clear(),
            |told| drop(told.revisions[0].events.pop()),
            |told| told.revisions[0].events[0].kv.key = "c".into(),
            |told| {
                let mut rest = told.revisions[0].clone();
                rest.events.remove(0);
                told.revisions[0].events.truncate(1);
                told.revisions.push(rest);
            },
        ];
        for spoil in spoiled {
            assert_eq!(end(spoil).unwrap_err().0, Invariant::LeaseKeys);
        }
    }

    #[test]
    fn a_key_on_a_lease_that_is_gone_is_found() {
        let mut both = both();
        both.apply(Revoke::new(7));
        let late = both.apply_but(Put::new("l3", "v"), |request, _| {
            *request = hang("l3").into();
        });
        assert_eq!(late.unwrap_err().0, Invariant::LeaseKeys);
    }

    #[test]
    fn a_revision_that_nothing_made_is_found() {
        let mut both = both();
        let strange = both.apply_but(Put::new("b", "v"), |request, _| {
            *request = Delete::new(KeyRange::key("nothing")).into();
        });
        assert_eq!(strange.unwrap_err().0, Invariant::StateMachineSafety);
    }
}
