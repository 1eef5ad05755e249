//! The validation of commands.

use alloc::vec;

use crate::{
    Command, Compare, Delete, Entry, KEY_BYTES_MAX, KeyRange, Kv, Limits, Malformed, MemoryStore,
    Op, Operand, Outcome, Put, RangeRequest, Rejection, Relation, Txn, ValidateError,
};

fn limits() -> Limits {
    Limits { key_bytes_max: 4, value_bytes_max: 8, txn_ops_max: 2, request_bytes_max: 48 }
}

fn check(request: impl Into<crate::Request>) -> Result<(), ValidateError> {
    Command::new(request).validate(&limits())
}

#[test]
fn keys_and_values_at_limit_are_accepted() {
    assert_eq!(check(Put::new("four", "12345678")), Ok(()));
    let key = ValidateError::KeyTooLong { bytes: 5, max: 4 };
    assert_eq!(check(Put::new("fives", "1")), Err(key));
    assert_eq!(check(Delete::new(KeyRange::key("fives"))), Err(key));
    assert_eq!(check(Delete::new(KeyRange::between("a", "fives"))), Err(key));
    let value = ValidateError::ValueTooLong { bytes: 9, max: 8 };
    assert_eq!(check(Put::new("a", "123456789")), Err(value));
    let compare = Compare::key("a", Relation::Equal, Operand::Value("123456789".into()));
    let txn = Txn { compare: vec![compare], ..Txn::default() };
    assert_eq!(check(txn), Err(value));
    for op in [
        Op::Put(Put::new("fives", "1")),
        Op::Delete(Delete::new(KeyRange::key("fives"))),
        Op::Range(RangeRequest::new(KeyRange::key("fives"))),
    ] {
        let failure = Txn { failure: vec![op], ..Txn::default() };
        assert_eq!(check(failure), Err(key));
    }
}

#[test]
fn each_part_of_transaction_is_limited() {
    let op = || Op::Range(RangeRequest::new(KeyRange::key("a")));
    let compare = || Compare::key("a", Relation::Equal, Operand::Version(0));
    let two = Txn { compare: vec![], success: vec![op(), op()], failure: vec![op(), op()] };
    assert_eq!(check(two.clone()), Ok(()));
    let many = Err(ValidateError::TooManyOps { ops: 3, max: 2 });
    let mut three = two.clone();
    three.success.push(op());
    assert_eq!(check(three), many);
    let mut three = two.clone();
    three.failure.push(op());
    assert_eq!(check(three), many);
    let three = Txn { compare: vec![compare(), compare(), compare()], ..Txn::default() };
    assert_eq!(check(three), many);
}

#[test]
fn request_size_is_limited() {
    let txn = Txn {
        success: vec![Op::Put(Put::new("aaaa", "12345678")), Op::Put(Put::new("bbbb", "12345678"))],
        ..Txn::default()
    };
    let command = Command::new(txn);
    let bytes = command.encode().len();
    let mut limits = limits();
    limits.request_bytes_max = bytes;
    assert_eq!(command.validate(&limits), Ok(()));
    limits.request_bytes_max = bytes - 1;
    let large = ValidateError::RequestTooLarge { bytes, max: bytes - 1 };
    assert_eq!(command.validate(&limits), Err(large));
}

#[test]
fn malformed_request_is_rejected_before_and_after_log() {
    let large =
        Limits { key_bytes_max: usize::MAX, request_bytes_max: usize::MAX, ..Limits::default() };
    let long = || vec![b'k'; KEY_BYTES_MAX + 1];
    let read = |revision| Txn {
        success: vec![Op::Range(RangeRequest::new(KeyRange::key("a")).at_revision(revision))],
        ..Txn::default()
    };
    let twice = Txn {
        failure: vec![Op::Put(Put::new("a", "1")), Op::Put(Put::new("a", "1"))],
        ..Txn::default()
    };
    let malformed = [
        (Command::new(Put::new("", "1")), Malformed::EmptyKey),
        (Command::new(Delete::new(KeyRange::key(""))), Malformed::EmptyKey),
        (Command::new(Put::new(long(), "1")), Malformed::KeyTooLong),
        (Command::new(Delete::new(KeyRange::between("a", long()))), Malformed::KeyTooLong),
        (Command::new(read(0)), Malformed::RevisionNotPositive),
        (Command::new(read(-5)), Malformed::RevisionNotPositive),
        (Command::new(twice), Malformed::DuplicateKey),
    ];
    let mut kv = Kv::open(MemoryStore::new()).unwrap();
    for (index, (command, why)) in (1..).zip(malformed) {
        assert_eq!(command.validate(&large), Err(ValidateError::Malformed(why)));
        let refused = Outcome::Rejected(Rejection::Malformed(why));
        let entry = Entry::command(index, 1, command.encode());
        assert_eq!(kv.apply(entry), Ok(refused));
        assert_eq!((kv.applied_index(), kv.revision()), (index, 1));
    }
}

#[test]
fn limits_do_not_apply_to_log_entries() {
    let value = vec![0; Limits::default().value_bytes_max + 1];
    let command = Command::new(Put::new("a", value));
    assert!(command.validate(&Limits::default()).is_err());
    let mut kv = Kv::open(MemoryStore::new()).unwrap();
    let outcome = kv.apply(Entry::command(1, 1, command.encode()));
    assert!(matches!(outcome, Ok(Outcome::Done(_))));
}

#[test]
fn longest_key_fits_embedded_stores() {
    let zeros = vec![0; KEY_BYTES_MAX];
    let mut kv = Kv::open(MemoryStore::new()).unwrap();
    let command = Command::new(Put::new(zeros, ""));
    kv.apply(Entry::command(1, 1, command.encode())).unwrap();
    let longest = kv.store().iter().map(|(key, _)| key.len()).max();
    assert!(longest <= Some(usize::from(u16::MAX)));
    let too_long = vec![b'k'; KEY_BYTES_MAX + 1];
    assert_eq!(kv.get(&too_long, None), Err(crate::ReadError::KeyTooLong));
    let request = RangeRequest::new(KeyRange::between("a", too_long));
    assert_eq!(kv.range(&request), Err(crate::ReadError::KeyTooLong));
}
