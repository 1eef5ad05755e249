//! Histories with a known verdict, and all small histories.

use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::{Rng, SeedableRng};

use super::*;

/// A random generator.
struct Random(Xoshiro256PlusPlus);

impl Random {
    fn new(seed: u64) -> Self {
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.0.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    fn chance_per_mille(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

fn op(client: u64, call: Call, invoked: u64, returned: Option<u64>) -> HistoryOperation {
    HistoryOperation { client, key: "k".into(), call, invoked, returned }
}

fn put(value: &str) -> Call {
    Call::Put { value: value.into() }
}

fn get(found: Option<&str>) -> Call {
    Call::Get { found: found.map(Into::into) }
}

fn cas(expected: Option<&str>, value: &str, succeeded: bool) -> Call {
    Call::Cas { expected: expected.map(Into::into), value: value.into(), succeeded }
}

fn is_ok(history: &[HistoryOperation]) -> bool {
    match check(history, 1_000_000) {
        Verdict::Linearizable => true,
        Verdict::Violation { .. } => false,
        Verdict::GaveUp { .. } => panic!("gave up"),
    }
}

#[test]
fn sequential_operations_are_linearizable() {
    assert!(is_ok(&[]));
    assert!(is_ok(&[op(1, put("a"), 0, Some(1)), op(1, get(Some("a")), 2, Some(3))]));
    assert!(!is_ok(&[op(1, put("a"), 0, Some(1)), op(1, get(None), 2, Some(3))]));
    assert!(!is_ok(&[op(1, get(Some("a")), 0, Some(1)), op(1, put("a"), 2, Some(3))]));
}

#[test]
fn stale_read_is_violation() {
    let history = [
        op(1, put("a"), 0, Some(1)),
        op(1, put("b"), 2, Some(3)),
        op(2, get(Some("b")), 4, Some(5)),
        op(3, get(Some("a")), 6, Some(7)),
    ];
    assert!(!is_ok(&history));
    assert!(is_ok(&history[..3]));
}

fn violated_at(history: &[HistoryOperation]) -> (u64, Box<Contradiction>) {
    match check(history, 1_000_000) {
        Verdict::Violation(found) => {
            first_violating_prefix(&Prefix::default(), history, found, 1_000_000)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn violation_is_dated_at_first_unexplained_response() {
    let mut history = vec![
        op(1, put("a"), 0, Some(1)),
        op(1, put("b"), 2, Some(3)),
        op(2, get(Some("b")), 4, Some(5)),
        op(3, get(Some("a")), 6, Some(7)),
    ];
    for more in 4..100 {
        history.push(op(1, put("b"), 2 * more, Some(2 * more + 1)));
    }
    let (at, found) = violated_at(&history);
    assert_eq!((at, found.culprit.call), (7, get(Some("a"))));
    // The compare-and-set explains the read of c until its rejection arrives.
    let history = [
        op(1, put("a"), 0, Some(1)),
        op(2, cas(Some("a"), "c", false), 2, Some(9)),
        op(3, get(Some("c")), 3, Some(4)),
        op(3, get(Some("c")), 10, Some(11)),
    ];
    assert_eq!(violated_at(&history).0, 9);
}

#[test]
fn concurrent_operations_may_reorder() {
    for last in ["a", "b"] {
        let history = [
            op(1, put("a"), 0, Some(10)),
            op(2, put("b"), 0, Some(10)),
            op(3, get(Some(last)), 11, Some(12)),
        ];
        assert!(is_ok(&history));
    }
}

#[test]
fn readers_agree_on_order() {
    let history = [
        op(1, put("a"), 0, Some(100)),
        op(2, put("b"), 0, Some(100)),
        op(3, get(Some("a")), 10, Some(20)),
        op(3, get(Some("b")), 30, Some(40)),
        op(4, get(Some("b")), 10, Some(20)),
        op(4, get(Some("a")), 30, Some(40)),
    ];
    assert!(!is_ok(&history));
}

#[test]
fn unanswered_write_may_apply_late_or_never() {
    let unanswered = op(1, put("a"), 0, None);
    assert!(is_ok(&[unanswered.clone(), op(2, get(None), 5, Some(6))]));
    assert!(is_ok(&[
        unanswered.clone(),
        op(2, get(None), 5, Some(6)),
        op(2, get(Some("a")), 7, Some(8)),
    ]));
    assert!(!is_ok(
        &[unanswered, op(2, get(Some("a")), 5, Some(6)), op(2, get(None), 7, Some(8)),]
    ));
}

#[test]
fn compare_and_set_depends_on_value() {
    assert!(is_ok(&[
        op(1, cas(None, "a", true), 0, Some(1)),
        op(1, cas(Some("a"), "b", true), 2, Some(3))
    ]));
    assert!(!is_ok(&[
        op(1, cas(None, "a", true), 0, Some(1)),
        op(2, cas(None, "b", true), 2, Some(3))
    ]));
    assert!(is_ok(&[
        op(1, cas(None, "a", true), 0, Some(9)),
        op(2, cas(None, "b", false), 2, Some(3))
    ]));
    assert!(!is_ok(&[op(1, cas(None, "b", false), 2, Some(3))]));
}

#[test]
fn keys_are_checked_independently() {
    let mut other = op(2, get(None), 2, Some(3));
    other.key = "other".into();
    assert!(is_ok(&[op(1, put("a"), 0, Some(1)), other]));
}

#[test]
fn exhausted_search_returns_unknown() {
    let history = [op(1, put("a"), 0, Some(1))];
    assert_eq!(check(&history, 0), Verdict::GaveUp { key: "k".into() });
    let limits = Limits { bytes_max: 10, ..Limits::default() };
    let history = [history[0].clone(), op(1, put("b"), 2, Some(3))];
    assert_eq!(check_within(&history, limits), Verdict::GaveUp { key: "k".into() });
}

/// An undecided key must not hide a contradiction at another key.
#[test]
fn violation_outweighs_exhausted_search() {
    let mut history = one_register(400, 30, 1);
    history.extend([op(1, put("a"), 0, Some(1)), op(1, get(None), 2, Some(3))]);
    for operation in &mut history[..400] {
        operation.key = "first".into();
    }
    let Verdict::Violation(found) = check(&history, 50) else {
        panic!("the second key has a contradiction");
    };
    assert_eq!(found.key, "k");
    assert_eq!(check(&history[..400], 50), Verdict::GaveUp { key: "first".into() });
}

#[test]
fn append_concatenates() {
    let append = |value: &str| Call::Append { value: value.into() };
    let history = [
        op(1, append("a"), 0, Some(9)),
        op(2, append("b"), 0, Some(9)),
        op(3, get(Some("ba")), 10, Some(11)),
        op(3, put("x"), 12, Some(13)),
        op(3, append(""), 14, Some(15)),
        op(3, get(Some("x")), 16, Some(17)),
    ];
    assert!(is_ok(&history));
    assert!(!is_ok(&[history[0].clone(), history[2].clone()]));
}

/// The report shows the longest order and the operation that cannot come next.
#[test]
fn violation_lists_unplaceable_operations() {
    let history = [
        op(1, put("a"), 0, Some(1)),
        op(1, put("b"), 2, Some(3)),
        op(2, get(Some("a")), 4, Some(6)),
        op(3, put("c"), 5, Some(9)),
        op(3, put("d"), 10, Some(11)),
    ];
    let Verdict::Violation(found) = check(&history, 1000) else {
        panic!("a stale read");
    };
    // The write of c can come before the read, but the read is stale in any case.
    assert_eq!(found.order, [history[0].clone(), history[1].clone(), history[3].clone()]);
    assert_eq!(found.values, [Some("a".into()), Some("b".into()), Some("c".into())]);
    assert_eq!(found.culprit, history[2]);
    assert_eq!(found.stuck, [history[2].clone()]);
    assert_eq!(found.later, [history[4].clone()]);
    let page = html_report(&found);
    assert!(page.contains("✗ get: &quot;a&quot;") && page.contains("3: put &quot;c&quot;"));
    assert!(!page.contains("src=") && !page.contains("href="), "the page needs no other file");
}

/// A linearizable history of concurrent clients at one register. `loss` percent of the operations
/// have no response.
fn one_register(operations: u64, clients: u64, loss: u64) -> Vec<HistoryOperation> {
    let mut random = Random::new(operations ^ clients << 20 ^ loss << 40);
    let mut free_at = vec![0_u64; clients as usize];
    let mut planned = Vec::new();
    for number in 0..operations {
        let client = random.below(clients);
        let invoked = free_at[client as usize] + random.below(20);
        let takes_effect = invoked + random.below(100);
        let returned = takes_effect + random.below(100);
        free_at[client as usize] = returned + 1;
        let answered = random.below(100) >= loss;
        planned.push((takes_effect, invoked, answered.then_some(returned), client, number));
    }
    planned.sort_unstable();
    let mut value: Option<String> = None;
    let mut history = Vec::new();
    for (_, invoked, returned, client, number) in planned {
        let new = number.to_string();
        let call = match random.below(10) {
            0..4 => get(value.as_deref()),
            4..7 => put(&new),
            7 => Call::Delete,
            _ => {
                let expected = if random.below(2) == 0 { value.clone() } else { Some("7".into()) };
                cas(expected.as_deref(), &new, expected == value)
            }
        };
        // Half of the operations without a response take no effect.
        if returned.is_some() || random.below(2) == 0 {
            value = match &call {
                Call::Put { value } | Call::Cas { value, succeeded: true, .. } => {
                    Some(value.clone())
                }
                Call::Delete => None,
                _ => value,
            };
        }
        history.push(op(client, call, invoked, returned));
    }
    history
}

#[test]
fn ten_thousand_operations_are_checked() {
    for (clients, loss) in [(5, 0), (10, 0), (5, 1)] {
        let history = one_register(10_000, clients, loss);
        assert_eq!(
            check(&history, 3_000_000),
            Verdict::Linearizable,
            "{clients} clients, {loss} % lost"
        );
        let mut broken = history.clone();
        let victim = broken
            .iter_mut()
            .filter(|operation| operation.returned.is_some())
            .filter(|operation| matches!(operation.call, Call::Get { .. }))
            .nth(3_000);
        victim.unwrap().call = get(Some("never written"));
        let Verdict::Violation(found) = check(&broken, 3_000_000) else {
            panic!("a read returned a value that was never written");
        };
        assert_eq!(found.culprit.call, get(Some("never written")));
        // A value that was overwritten long before the read.
        let old = (2_000..).find_map(|at| match &history[at].call {
            Call::Put { value } => Some(value.clone()),
            _ => None,
        });
        let stale =
            broken.iter_mut().find(|operation| operation.call == get(Some("never written")));
        stale.unwrap().call = get(old.as_deref());
        assert!(matches!(check(&broken, 3_000_000), Verdict::Violation(_)));
    }
}

/// Every history of up to three overlapping operations agrees with trying all orders.
#[test]
fn search_agrees_with_brute_force() {
    let calls = [
        put("a"),
        put("b"),
        get(None),
        get(Some("a")),
        cas(Some("a"), "b", true),
        cas(Some("a"), "b", false),
        Call::Delete,
    ];
    let windows = [(0, Some(3)), (1, Some(2)), (2, Some(5)), (4, Some(6)), (1, None)];
    let mut histories = vec![Vec::new()];
    for client in 0..3 {
        let mut longer = Vec::new();
        for history in &histories {
            for call in &calls {
                for (invoked, returned) in windows {
                    let mut history: Vec<HistoryOperation> = history.clone();
                    history.push(op(client, call.clone(), invoked, returned));
                    longer.push(history);
                }
            }
        }
        for history in &longer {
            assert_eq!(is_ok(history), some_order_explains(history, None), "{history:?}");
        }
        histories = longer;
    }
}

fn some_order_explains(left: &[HistoryOperation], value: Option<&str>) -> bool {
    // Operations without a response need not take effect.
    left.iter().all(|operation| operation.returned.is_none())
        || (0..left.len()).any(|first| {
            let candidate = &left[first];
            let in_time = left
                .iter()
                .all(|other| other.returned.is_none_or(|returned| candidate.invoked <= returned));
            let rest: Vec<_> = left
                .iter()
                .enumerate()
                .filter(|(i, _)| *i != first)
                .map(|(_, o)| o.clone())
                .collect();
            in_time
                && apply(candidate, value).is_some_and(|after| some_order_explains(&rest, after))
        })
}

/// The effect of an operation on a value, without the tables of the search.
fn apply<'a>(operation: &'a HistoryOperation, value: Option<&'a str>) -> Option<Option<&'a str>> {
    let answered = operation.returned.is_some();
    match &operation.call {
        Call::Put { value } => Some(Some(value)),
        Call::Delete => Some(None),
        Call::Append { .. } => unreachable!("the test uses no append"),
        Call::Get { found } => (!answered || found.as_deref() == value).then_some(value),
        Call::Cas { expected, value: new, succeeded } => {
            let matches = expected.as_deref() == value;
            let fits = !answered || *succeeded == matches;
            fits.then_some(if matches { Some(new.as_str()) } else { value })
        }
    }
}

/// A history of few clients with few values. Some histories contain a wrong response.
fn random_history(random: &mut Random) -> Vec<HistoryOperation> {
    let values = ["a", "b", "c"];
    let text = |random: &mut Random| values[random.below(3) as usize].to_owned();
    let clients = 1 + random.below(4);
    let mut free_at = vec![0_u64; clients as usize];
    let mut value: Option<String> = None;
    let mut planned = Vec::new();
    for _ in 0..4 + random.below(12) {
        let client = random.below(clients);
        let invoked = free_at[client as usize] + random.below(8);
        let effect = invoked + random.below(8);
        let returned = effect + random.below(8);
        free_at[client as usize] = returned + 1;
        planned.push((effect, invoked, returned, client));
    }
    planned.sort_unstable();
    let mut history = Vec::new();
    for (_, invoked, returned, client) in planned {
        let mut call = match random.below(6) {
            0 | 1 => Call::Put { value: text(random) },
            2 => Call::Delete,
            3 | 4 => Call::Get { found: value.clone() },
            _ => {
                let expected = random.chance_per_mille(800).then(|| text(random));
                let succeeded = expected == value;
                Call::Cas { expected, value: text(random), succeeded }
            }
        };
        let answered = random.chance_per_mille(800);
        if answered || random.chance_per_mille(500) {
            value = match &call {
                Call::Put { value } | Call::Cas { value, succeeded: true, .. } => {
                    Some(value.clone())
                }
                Call::Delete => None,
                _ => value,
            };
        }
        if random.chance_per_mille(100) {
            match &mut call {
                Call::Get { found } => *found = Some(text(random)),
                Call::Cas { succeeded, .. } => *succeeded = !*succeeded,
                _ => {}
            }
        }
        history.push(op(client, call, invoked, answered.then_some(returned)));
    }
    history.sort_by_key(|operation| operation.invoked);
    history
}

/// The verdict does not depend on where a history is cut, or how often.
#[test]
fn history_with_summarized_prefix_has_verdict_of_whole() {
    let mut random = Random::new(0xf2);
    let limits = Limits { steps_max: 1_000_000, ..Limits::default() };
    let (mut linearizable, mut violations) = (0, 0);
    for _ in 0..4_000 {
        let history = random_history(&mut random);
        let whole = is_ok(&history);
        *(if whole { &mut linearizable } else { &mut violations }) += 1;
        let end = history.last().unwrap().invoked + 1;
        let mut cuts: Vec<_> = (0..1 + random.below(4)).map(|_| random.below(end + 1)).collect();
        cuts.sort_unstable();
        let mut prefix = Prefix::default();
        let mut from = 0;
        for until in &cuts {
            let part = history.iter().filter(|it| (from..*until).contains(&it.invoked));
            prefix.extend(part.cloned().collect(), *until, limits);
            from = *until;
        }
        let rest: Vec<_> = history.iter().filter(|it| it.invoked >= from).cloned().collect();
        let is_linearizable = match check_after(&prefix, &rest, limits) {
            Verdict::Linearizable => true,
            Verdict::Violation(_) => false,
            Verdict::GaveUp { .. } => panic!("gave up"),
        };
        assert_eq!(is_linearizable, whole, "cut at {cuts:?}: {history:?}");
    }
    assert!(linearizable > 1_000 && violations > 500, "{linearizable}, {violations}");
}

#[test]
fn prefix_with_too_many_states_is_undecided() {
    let history: Vec<_> = (0..20).map(|n| op(n, put(&n.to_string()), 0, Some(10))).collect();
    let mut prefix = Prefix::default();
    prefix.extend(history, 5, Limits { steps_max: 100, ..Limits::default() });
    // No operation returned before the end of the prefix.
    let read = [op(99, get(Some("7")), 11, Some(12))];
    assert_eq!(check_after(&prefix, &read, Limits::default()), Verdict::Linearizable);
    prefix.extend(Vec::new(), 11, Limits { steps_max: 100, ..Limits::default() });
    let verdict = check_after(&prefix, &read, Limits::default());
    assert_eq!(verdict, Verdict::GaveUp { key: "k".into() });
}
