//! Random commands with few keys, so that they affect each other.

use alloc::vec::Vec;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::{
    Command, Compare, CountMode, Delete, Expiry, Fields, Grant, KeyRange, Op, Operand, Order, Put,
    RangeRequest, Relation, Request, Revoke, Session, Txn,
};

/// Some keys whose order a wrong encoding would change.
const KEYS: [&[u8]; 10] =
    [b"\0", b"\0\0", b"a", b"a\0", b"a\0\xff", b"a\x01", b"aa", b"b", b"\xff", b"\xff\xff"];

pub(super) fn key() -> impl Strategy<Value = Bytes> {
    select(&KEYS[..]).prop_map(Bytes::from_static)
}

fn value() -> impl Strategy<Value = Bytes> {
    select(&["", "x", "y"][..]).prop_map(|value| Bytes::from_static(value.as_bytes()))
}

/// The ids of leases. Small positive ids may also be chosen by the state machine.
pub(super) fn lease() -> impl Strategy<Value = i64> {
    prop_oneof![4 => -1..4_i64, 1 => 4..20_i64, 1 => select(&[i64::MIN, i64::MAX][..])]
}

fn lease_id() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0), 2 => lease()]
}

prop_compose! {
    fn grant()(
        id in prop_oneof![Just(0), lease()],
        ttl in prop_oneof![9 => 1..5_i64, 1 => select(&[0, -1, 9_000_000_001][..])],
    ) -> Grant {
        Grant { id, ttl }
    }
}

prop_compose! {
    /// Early entries grant leases, and all entries have term 1.
    fn expiry()(term in prop_oneof![4 => Just(1_u64), 1 => 0..3_u64], granted_at in 1..20_u64) -> Expiry {
        Expiry { term, granted_at }
    }
}

prop_compose! {
    fn revoke()(id in lease(), expiry in option::of(expiry())) -> Revoke {
        Revoke { id, expiry }
    }
}

pub(super) fn keys() -> impl Strategy<Value = KeyRange> {
    prop_oneof![
        4 => key().prop_map(KeyRange::key),
        2 => (key(), key()).prop_map(|(start, end)| KeyRange::between(start, end)),
        1 => key().prop_map(KeyRange::from_key),
        1 => key().prop_map(KeyRange::prefix),
        1 => Just(KeyRange::all()),
    ]
}

prop_compose! {
    fn put()(
        key in key(), value in value(), prev_kv in any::<bool>(), lease in lease_id(),
    ) -> Put {
        Put { key, value, prev_kv, lease }
    }
}

prop_compose! {
    fn delete()(keys in keys(), prev_kv in any::<bool>()) -> Delete {
        Delete { keys, prev_kv }
    }
}

prop_compose! {
    pub(super) fn range()(
        keys in keys(),
        revision in option::of(1..6_i64),
        limit in option::of(0..4_u64),
        order in select(&[Order::Ascending, Order::Descending][..]),
        projection in select(&[Fields::KeyValues, Fields::Keys, Fields::Count][..]),
        counting in select(&[CountMode::WholeRange, CountMode::Returned][..]),
    ) -> RangeRequest {
        RangeRequest { keys, revision, limit, order, projection, counting }
    }
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => put().prop_map(Op::Put),
        1 => delete().prop_map(Op::Delete),
        2 => range().prop_map(Op::Range),
    ]
}

fn compare() -> impl Strategy<Value = Compare> {
    let relation =
        select(&[Relation::Equal, Relation::NotEqual, Relation::Greater, Relation::Less][..]);
    let operand = prop_oneof![
        (0..3_i64).prop_map(Operand::Version),
        (0..9_i64).prop_map(Operand::CreateRevision),
        (0..9_i64).prop_map(Operand::ModRevision),
        value().prop_map(Operand::Value),
        lease().prop_map(Operand::Lease),
    ];
    (keys(), relation, operand).prop_map(|(keys, relation, operand)| Compare {
        keys,
        relation,
        operand,
    })
}

fn request() -> impl Strategy<Value = Request> {
    let txn = (vec(compare(), 0..2), vec(op(), 0..4), vec(op(), 0..4));
    prop_oneof![
        4 => put().prop_map(Request::Put),
        1 => delete().prop_map(Request::Delete),
        4 => txn.prop_map(|(compare, success, failure)| {
            Request::Txn(Txn { compare, success, failure })
        }),
        3 => grant().prop_map(Request::Grant),
        1 => revoke().prop_map(Request::Revoke),
    ]
}

/// Sessions as clients use them: a client is told an applied index when it begins (here, 0 for
/// those with low numbers and its own number for the others, before which it is not used).
fn session() -> impl Strategy<Value = Session> {
    (0..6_u128, 0..5_u64).prop_map(|(client, sequence)| Session { client, sequence, since: 0 })
}

pub(super) fn command() -> impl Strategy<Value = Command> {
    (option::of(session()), request()).prop_map(|(session, request)| Command { session, request })
}

/// A step of a log.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Command(Command),
    /// A repetition of the command of an earlier entry, counted from the start.
    Retry(usize),
    /// A command of a new session, whose `since` is this number of entries ago.
    Begin(u64, Request),
    Noop,
    Garbage(Vec<u8>),
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => command().prop_map(Step::Command),
        2 => any::<usize>().prop_map(Step::Retry),
        3 => (0..12_u64, request()).prop_map(|(ago, request)| Step::Begin(ago, request)),
        1 => Just(Step::Noop),
        1 => vec(128_u8.., 0..8).prop_map(Step::Garbage),
    ]
}
