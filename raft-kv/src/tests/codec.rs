//! Bytes and back.

use alloc::vec::Vec;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::model::Model;
use super::strategy::{command, key, keys};
use crate::layout::{self, Revision};
use crate::{Command, DecodeError, KeyRange, Limits, Malformed, Outcome, Put, Rejection};

proptest! {
    #[test]
    fn commands_come_back(command in command()) {
        let bytes = command.encode();
        prop_assert_eq!(bytes.len(), command.encoded_len());
        prop_assert_eq!(Command::decode(bytes), Ok(command));
    }

    #[test]
    fn outcomes_come_back(commands in vec(command(), 1..20)) {
        let mut model = Model::new(3);
        for (index, command) in (1..).zip(commands) {
            let outcome = model.apply(index, &command);
            prop_assert_eq!(Outcome::decode(outcome.encode()), Ok(outcome));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..64)) {
        if let Ok(command) = Command::decode(bytes.clone().into()) {
            let _ = command.validate(&Limits::default());
        }
        let _ = Outcome::decode(bytes.into());
    }

    #[test]
    fn stored_keys_keep_the_order_of_user_keys(
        one in vec(any::<u8>(), 0..4), other in vec(any::<u8>(), 0..4),
        earlier in 1..1000_i64, later in 1..1000_i64,
    ) {
        let earlier = Revision { main: earlier, sub: 3 };
        let later = Revision { main: later, sub: 2 };
        let order = (&one, earlier).cmp(&(&other, later));
        let stored = layout::version_key(&one, earlier).cmp(&layout::version_key(&other, later));
        prop_assert_eq!(stored, order);
    }

    #[test]
    fn spans_hold_what_the_range_contains(keys in keys(), key in key()) {
        let within = |(from, to): layout::Span, key: &Bytes| from <= *key && *key < to;
        let contained = keys.contains(&key);
        let current = layout::current_key(&key);
        prop_assert_eq!(within(layout::current_span(&keys), &current), contained);
        let version = layout::version_key(&key, Revision { main: i64::MAX, sub: u32::MAX });
        prop_assert_eq!(within(layout::versions_span(&keys), &version), contained);
    }

    #[test]
    fn a_prefix_contains_what_begins_with_it(
        prefix in vec(200_u8.., 0..3), key in vec(200_u8.., 1..4),
    ) {
        let range = KeyRange::prefix(prefix.clone());
        prop_assert_eq!(range.contains(&key), key.starts_with(&prefix));
    }
}

#[test]
fn rare_outcomes_come_back() {
    let mut outcomes: Vec<_> = [
        Malformed::Undecodable,
        Malformed::EmptyKey,
        Malformed::KeyTooLong,
        Malformed::DuplicateKey,
        Malformed::RevisionNotPositive,
    ]
    .map(|why| Outcome::Rejected(Rejection::Malformed(why)))
    .into();
    outcomes.push(Outcome::Noop);
    outcomes.push(Outcome::AlreadyDone { revision: 9 });
    for outcome in outcomes {
        assert_eq!(Outcome::decode(outcome.encode()), Ok(outcome));
    }
}

#[test]
fn decoding_copies_no_values() {
    let bytes = Command::new(Put::new("a", "value")).encode();
    let crate::Request::Put(put) = Command::decode(bytes.clone()).unwrap().request else {
        panic!("not a put");
    };
    assert!(bytes.as_ptr_range().contains(&put.value.as_ptr()));
}

/// What is in a log today is read by every later release: these bytes must never change meaning.
#[test]
fn the_bytes_of_a_put_are_fixed() {
    let bytes = b"\x08\x01\x1a\x06\x0a\x01a\x12\x01b";
    let put = Command::new(Put::new("a", "b"));
    assert_eq!(Command::decode(Bytes::from_static(bytes)), Ok(put.clone()));
    assert_eq!(put.encode(), &bytes[..]);
    assert_eq!(
        Command::decode(Bytes::from_static(b"\x08\x02")),
        Err(DecodeError::UnknownVersion { found: 2 })
    );
    let unversioned = Bytes::from_static(&bytes[2..]);
    assert_eq!(Command::decode(unversioned), Err(DecodeError::Undecodable));
}
