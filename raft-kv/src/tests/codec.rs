//! Encoding and decoding.

use alloc::vec::Vec;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

use super::model::Model;
use super::strategy::{command, key, keys};
use crate::apply::Capacity;
use crate::store::layout::{self, Revision};
use crate::{
    Command, Compare, DecodeError, Delete, Expiry, Grant, KeyRange, Limits, Malformed, Op, Operand,
    Outcome, Put, Rejection, Relation, Request, Revoke, Txn,
};

proptest! {
    #[test]
    fn commands_roundtrip(command in command()) {
        let bytes = command.encode();
        prop_assert_eq!(bytes.len(), command.encoded_len());
        prop_assert_eq!(Command::decode(bytes), Ok(command));
    }

    #[test]
    fn outcomes_roundtrip(commands in vec(command(), 1..20)) {
        let mut model = Model::new(Capacity { sessions: 3, leases: 3, lease_keys: 2, answer_bytes: 1 << 20 });
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
    fn store_range_matches_key_range(keys in keys(), key in key()) {
        let within = |(from, to): layout::StoreRange, key: &Bytes| from <= *key && *key < to;
        let contained = keys.contains(&key);
        let current = layout::current_key(&key);
        prop_assert_eq!(within(layout::current_range(&keys), &current), contained);
        let version = layout::version_key(&key, Revision { main: i64::MAX, sub: u32::MAX });
        prop_assert_eq!(within(layout::version_range(&keys), &version), contained);
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
fn rare_outcomes_roundtrip() {
    let mut outcomes: Vec<_> = [
        Malformed::Undecodable,
        Malformed::EmptyKey,
        Malformed::KeyTooLong,
        Malformed::DuplicateKey,
        Malformed::RevisionNotPositive,
        Malformed::LeaseTtlOutOfRange,
    ]
    .map(|why| Outcome::Rejected(Rejection::Malformed(why)))
    .into();
    outcomes.extend(
        [
            Rejection::LeaseNotFound { id: -1 },
            Rejection::LeaseExists { id: 7 },
            Rejection::LeaseNotExpired { id: i64::MAX },
            Rejection::TooManyLeases { max: 3 },
            Rejection::TooManyKeys { lease: -7, max: 3 },
            Rejection::AnswerTooLarge { max: 5 },
        ]
        .map(Outcome::Rejected),
    );
    outcomes.push(Outcome::Noop);
    outcomes.push(Outcome::AlreadyDone { revision: 9 });
    for outcome in outcomes {
        assert_eq!(Outcome::decode(outcome.encode()), Ok(outcome));
    }
}

#[test]
fn decoding_copies_no_values() {
    let bytes = Command::new(Put::new("a", "value")).encode();
    let Request::Put(put) = Command::decode(bytes.clone()).unwrap().request else {
        panic!("not a put");
    };
    assert!(bytes.as_ptr_range().contains(&put.value.as_ptr()));
}

/// Later releases must decode existing logs, so these bytes must never change their meaning.
#[test]
fn encoding_of_put_is_fixed() {
    let bytes = b"\x08\x01\x1a\x06\x0a\x01a\x12\x01b";
    let put = Command::new(Put::new("a", "b"));
    assert_eq!(Command::decode(Bytes::from_static(bytes)), Ok(put.clone()));
    assert_eq!(put.encode(), &bytes[..]);
    assert_eq!(
        Command::decode(Bytes::from_static(b"\x08\x05")),
        Err(DecodeError::UnknownVersion { found: 5 })
    );
    let unversioned = Bytes::from_static(&bytes[2..]);
    assert_eq!(Command::decode(unversioned), Err(DecodeError::Undecodable));
}

#[test]
fn encoding_of_lease_commands_is_fixed() {
    let expiry = Some(Expiry { term: 3, granted_at: 4 });
    let cases: [(&[u8], Command); 4] = [
        (b"\x08\x02\x32\x04\x08\x07\x10\x3c", Command::new(Grant { id: 7, ttl: 60 })),
        (b"\x08\x02\x3a\x02\x08\x07", Command::new(Revoke::new(7))),
        (
            b"\x08\x02\x3a\x08\x08\x07\x12\x04\x08\x03\x10\x04",
            Command::new(Revoke { id: 7, expiry }),
        ),
        (
            b"\x08\x03\x1a\x08\x0a\x01a\x12\x01b\x20\x07",
            Command::new(Put::new("a", "b").with_lease(7)),
        ),
    ];
    for (bytes, command) in cases {
        assert_eq!(command.encode(), bytes);
        assert_eq!(Command::decode(Bytes::from_static(bytes)), Ok(command));
    }
}

/// A replica that supports only version 1 must stop at commands of later versions, and only at
/// these.
#[test]
fn command_uses_minimal_version() {
    let version = |request: Request| Command::new(request).encode()[..2].to_vec();
    let txn = |op: Op, operand| {
        Request::Txn(Txn {
            compare: Vec::from([Compare::key("a", Relation::Equal, operand)]),
            success: Vec::new(),
            failure: Vec::from([op]),
        })
    };
    let put = || Put::new("a", "b");
    let delete = Delete::new(KeyRange::all());
    for request in [put().into(), delete.clone().into(), txn(Op::Put(put()), Operand::Version(1))] {
        assert_eq!(version(request), [8, 1]);
    }
    for (request, since) in [
        (Grant { id: 1, ttl: 1 }.into(), 2),
        (Revoke::new(1).into(), 2),
        (txn(Op::Delete(delete), Operand::Lease(0)), 2),
        (put().with_lease(1).into(), 3),
        (txn(Op::Put(put().with_lease(-1)), Operand::Version(1)), 3),
        (txn(Op::Put(put().with_lease(-1)), Operand::Lease(0)), 3),
    ] {
        assert_eq!(version(request.clone()), [8, since]);
        let named = |version| {
            let mut bytes = Command::new(request.clone()).encode().to_vec();
            bytes[1] = version;
            Command::decode(bytes.into())
        };
        // Version 1 cannot express the command, so it is invalid. Version 2 has no limit of keys.
        assert_eq!(named(1), Err(DecodeError::Undecodable));
        assert_eq!(named(2), Ok(Command::new(request.clone())));
    }
}
