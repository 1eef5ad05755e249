//! Small samples of each format, and errors.

use super::pairing::{CallPairing, Event, EventType, Function};
use super::*;
use crate::linearizability::{Call, Verdict, check};

fn verdict(text: &str) -> Verdict {
    check(&parse(text, None).unwrap().operations, 1000)
}

fn is_ok(text: &str) -> bool {
    verdict(text) == Verdict::Linearizable
}

fn problem(text: &str) -> String {
    parse(text, None).unwrap_err().to_string()
}

const JSON: &str = r#"
{"client": 1, "op": "put", "key": "x", "value": "a", "call": 0, "return": 10, "outcome": "ok"}
{"client": 2, "op": "get", "key": "x", "call": 5, "return": 8, "result": null, "outcome": "ok"}
{"client": 2, "op": "cas", "key": "x", "expected": "a", "value": "b", "call": 11, "return": 15, "result": true, "outcome": "ok"}
{"client": 1, "op": "append", "key": "x", "value": "c", "call": 16, "return": 17, "outcome": "ok"}
{"client": 3, "op": "put", "key": "x", "value": "lost", "call": 1, "outcome": "unknown"}
{"client": 4, "op": "put", "key": "x", "value": "never", "call": 1, "return": 2, "outcome": "failed"}
{"client": 1, "op": "get", "key": "x", "call": 18, "return": 19, "result": "bc", "outcome": "ok"}
{"client": 1, "op": "delete", "key": "x", "call": 20, "return": 21, "outcome": "ok"}
{"client": 1, "op": "cas", "key": "x", "expected": null, "value": "d", "call": 22, "return": 23, "result": true, "outcome": "ok"}
"#;

#[test]
fn json_format_parses() {
    let history = parse(JSON, None).unwrap();
    assert_eq!((history.operations.len(), history.failed, history.skipped), (8, 1, 0));
    assert!(is_ok(JSON));
    assert!(!is_ok(&JSON.replace("\"bc\"", "\"never\"")), "a failed operation has no effect");
    assert!(
        is_ok(&JSON.replace("\"result\": \"bc\"", "\"result\": \"lost\"")),
        "an unknown operation may take effect late"
    );
    assert!(!is_ok(&JSON.replace("\"result\": \"bc\"", "\"result\": \"b\"")));
}

#[test]
fn json_format_is_strict() {
    let line = |change: (&str, &str)| {
        let whole = r#"{"client": 1, "op": "get", "key": "x", "call": 5, "return": 8, "result": "a", "outcome": "ok"}"#;
        problem(&whole.replace(change.0, change.1))
    };
    assert!(line(("\"result\": \"a\", ", "")).contains("result"));
    assert!(line(("8", "4")).contains("invalid times"));
    assert!(line(("\"return\": 8, ", "")).contains("return"));
    assert!(line(("\"a\"", "true")).contains("result"));
    assert!(line(("\"client\": 1", "\"client\": 1, \"colour\": 2")).starts_with("line 1: "));
    assert!(line(("\"result\"", "\"value\"")).contains("value"));
    assert!(line(("}", "")).contains("line 1"));
}

const PORCUPINE: &str = r#"{:process 0, :type :invoke, :f :put, :key "0", :value "x 0"}
{:process 1, :type :invoke, :f :append, :key "0", :value " y"}
{:process 2, :type :invoke, :f :get, :key "1", :value nil}
{:process 0, :type :ok, :f :put, :key "0", :value "x 0"}
{:process 2, :type :ok, :f :get, :key "1", :value ""}
{:process 1, :type :ok, :f :append, :key "0", :value " y"}
{:process 0, :type :invoke, :f :get, :key "0", :value nil}
{:process 0, :type :ok, :f :get, :key "0", :value "x 0 y"}
{:process 3, :type :invoke, :f :put, :key "0", :value "open"}
"#;

#[test]
fn porcupine_format_parses() {
    let history = parse(PORCUPINE, None).unwrap();
    assert_eq!(history.operations.len(), 5);
    assert_eq!(history.operations[0].call, Call::Put { value: "x 0".into() });
    assert!(is_ok(PORCUPINE));
    assert!(is_ok(&PORCUPINE.replace("\"x 0 y\"", "\"x 0\"")), "the append may have come first");
    assert!(!is_ok(&PORCUPINE.replace("\"x 0 y\"", "\"y\"")));
    assert!(!is_ok(&PORCUPINE.replace(":key \"1\", :value \"\"", ":key \"1\", :value \"z\"")));
    assert!(
        problem(&PORCUPINE.replace(":process 2", ":process 0"))
            .starts_with("line 3: second request without a response: process 0")
    );
    assert!(problem(&PORCUPINE.replace(":f :append", ":f :add")).contains(":invoke of :add"));
    assert!(
        problem("{:process 0, :type :ok, :f :put, :key \"0\", :value \"a\"}")
            .contains("response without a request")
    );
    assert!(problem("{:process 0, :type :invoke").contains("expected a map"));
}

const JEPSEN: &str = "2014-06-01 INFO  jepsen.system - starting\n\
INFO  jepsen.util - 0\t:invoke\t:read\tnil\n\
INFO  jepsen.util - 1\t:invoke\t:write\t4\n\
INFO  jepsen.util - 0\t:ok\t:read\tnil\n\
INFO  jepsen.util - 1\t:ok\t:write\t4\n\
INFO  jepsen.util - 2\t:invoke\t:cas\t[4 1]\n\
INFO  jepsen.util - 3\t:invoke\t:write\t2\n\
INFO  jepsen.util - 2\t:ok\t:cas\t[4 1]\n\
INFO  jepsen.util - 3\t:info\t:write\t:timed-out\n\
INFO  jepsen.util - 4\t:invoke\t:cas\t[3 0]\n\
INFO  jepsen.util - 4\t:fail\t:cas\t[3 0]\n\
INFO  jepsen.util - 0\t:invoke\t:read\tnil\n\
INFO  jepsen.util - 0\t:ok\t:read\t1\n";

#[test]
fn jepsen_format_parses() {
    let history = parse(JEPSEN, None).unwrap();
    assert_eq!((history.operations.len(), history.skipped), (6, 1));
    assert!(is_ok(JEPSEN));
    assert!(is_ok(&JEPSEN.replace(":read\t1", ":read\t2")), "the write may have taken effect");
    assert!(!is_ok(&JEPSEN.replace(":read\t1", ":read\t4")));
    // A rejection is a response: the register did not have the value 1 or, later, 2.
    assert!(!is_ok(&JEPSEN.replace("[3 0]", "[1 0]").replace(":write\t2", ":write\t1")));
    assert!(problem(&JEPSEN.replace(":ok\t:cas", ":ok\t:swap")).starts_with("line 8: "));
    let swapped = JEPSEN.replace(":ok\t:read\tnil", ":ok\t:write\t4");
    assert!(
        problem(&swapped).starts_with("line 4: response does not match the request of process 0")
    );
}

#[test]
fn malformed_jepsen_operation_is_rejected() {
    let garbled = JEPSEN.replace("util - 0\t:ok\t:read\t1", "utl - 0\t:ok\t:read\t7");
    assert!(problem(&garbled).starts_with("line 13: operation without"));
    let noise = format!("{JEPSEN}{}", "something else\n".repeat(12));
    assert!(
        problem(&noise)
            .starts_with("more lines without operations than with operations: 13 and 12")
    );
}

/// Request and response both contain the operation, so a missing line is detected.
#[test]
fn mismatched_response_is_rejected() {
    let put = r#"{:process 0, :type :invoke, :f :put, :key "0", :value "a"}"#;
    for response in [
        // This response would remove the put from the history.
        r#":type :fail, :f :get, :key "0", :value nil"#,
        r#":type :ok, :f :delete, :key "0", :value nil"#,
        r#":type :ok, :f :put, :key "0", :value "b""#,
        r#":type :ok, :f :append, :key "0", :value "a""#,
        r#":type :fail, :f :put, :key "0", :value "b""#,
        r#":type :info, :f :put, :key "0", :value "b""#,
    ] {
        let history = format!("{put}\n{{:process 0, {response}}}\n");
        let expected = "line 2: response does not match the request of process 0 in line 1: put";
        assert!(problem(&history).starts_with(expected), "{history}");
    }
    for (asked, answer) in [
        (":write\t1", ":ok\t:write\t5"),
        (":write\t1", ":fail\t:write\t5"),
        (":write\t1", ":info\t:cas\t:timed-out"),
        (":cas\t[1 2]", ":fail\t:write\t2"),
        (":cas\t[1 2]", ":fail\t:cas\t[1 3]"),
        (":cas\t[1 2]", ":ok\t:cas\t[2 2]"),
        (":read\tnil", ":fail\t:cas\t[1 2]"),
    ] {
        let line = "INFO  jepsen.util - 0\t";
        let history = format!("{line}:invoke\t{asked}\n{line}{answer}\n");
        assert!(problem(&history).starts_with("line 2: response does not match"), "{history}");
    }
}

#[test]
fn response_may_omit_arguments_but_not_result() {
    let without = PORCUPINE.replace(
        ":type :ok, :f :put, :key \"0\", :value \"x 0\"",
        ":type :ok, :f :put, :key \"0\"",
    );
    assert_ne!(without, PORCUPINE);
    assert_eq!(parse(&without, None), parse(PORCUPINE, None));
    for (line, value) in [("line 8", ", :value \"x 0 y\""), ("line 2", ", :value \" y\"")] {
        let mute = PORCUPINE.replacen(value, "", 1);
        assert!(problem(&mute).starts_with(line), "{}", problem(&mute));
        assert!(problem(&mute).contains("missing :value"));
    }
}

#[test]
fn history_without_responses_is_unknown() {
    for outcome in ["failed", "unknown"] {
        let line = r#"{"client": 1, "op": "put", "key": "x", "value": "a", "call": 1, "outcome": "OUTCOME"}"#;
        let reason = problem(&line.replace("OUTCOME", outcome));
        assert!(reason.contains("nothing to check"), "{reason}");
    }
    let unanswered = "INFO  jepsen.util - 0\t:invoke\t:read\tnil\n";
    assert!(problem(unanswered).contains("nothing to check"));
}

/// Removing the failed operations one by one took most of a minute.
#[test]
fn many_failed_operations_are_removed_in_linear_time() {
    let mut pairing = CallPairing::default();
    let call = |put: usize| Call::Put { value: put.to_string() };
    for put in 0..200_000 {
        let response = match put % 2 {
            0 => EventType::Failed(None),
            _ => EventType::Response(None),
        };
        for kind in [EventType::Invoke(call(put)), response] {
            let event = Event { process: 0, key: "x".into(), function: Function::Write, kind };
            pairing.add(put, event).unwrap();
        }
    }
    let history = pairing.history(0);
    assert_eq!((history.operations.len(), history.failed), (100_000, 100_000));
    let mut left = (0..).zip(&history.operations);
    assert!(left.all(|(index, operation)| operation.call == call(2 * index + 1)));
}
