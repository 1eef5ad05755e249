//! Each format by small samples, and what is refused.

use super::*;
use crate::linearizability::{Call, Verdict, check};

fn judge(text: &str) -> Verdict {
    check(&parse(text, None).unwrap().operations, 1000)
}

fn is_ok(text: &str) -> bool {
    judge(text) == Verdict::Linearizable
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
fn our_own_format() {
    let history = parse(JSON, None).unwrap();
    assert_eq!(
        (history.operations.len(), history.failed, history.skipped),
        (8, 1, 0)
    );
    assert!(is_ok(JSON));
    assert!(
        !is_ok(&JSON.replace("\"bc\"", "\"never\"")),
        "what failed did not happen"
    );
    assert!(
        is_ok(&JSON.replace("\"result\": \"bc\"", "\"result\": \"lost\"")),
        "it may have happened late"
    );
    assert!(!is_ok(
        &JSON.replace("\"result\": \"bc\"", "\"result\": \"b\"")
    ));
}

#[test]
fn our_own_format_is_read_strictly() {
    let line = |change: (&str, &str)| {
        let whole = r#"{"client": 1, "op": "get", "key": "x", "call": 5, "return": 8, "result": "a", "outcome": "ok"}"#;
        problem(&whole.replace(change.0, change.1))
    };
    assert!(line(("\"result\": \"a\", ", "")).contains("result"));
    assert!(line(("8", "4")).contains("before"));
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
fn porcupines_format() {
    let history = parse(PORCUPINE, None).unwrap();
    assert_eq!(history.operations.len(), 5);
    assert_eq!(
        history.operations[0].call,
        Call::Put {
            value: "x 0".into()
        }
    );
    assert!(is_ok(PORCUPINE));
    assert!(
        is_ok(&PORCUPINE.replace("\"x 0 y\"", "\"x 0\"")),
        "the append may have come first"
    );
    assert!(!is_ok(&PORCUPINE.replace("\"x 0 y\"", "\"y\"")));
    assert!(!is_ok(
        &PORCUPINE.replace(":key \"1\", :value \"\"", ":key \"1\", :value \"z\"")
    ));
    assert!(
        problem(&PORCUPINE.replace(":process 2", ":process 0"))
            .starts_with("line 3: process 0 asks again")
    );
    assert!(problem(&PORCUPINE.replace(":f :append", ":f :add")).contains(":invoke of :add"));
    assert!(
        problem("{:process 0, :type :ok, :f :put, :key \"0\", :value \"a\"}")
            .contains("asked for nothing")
    );
    assert!(problem("{:process 0, :type :invoke").contains("no map"));
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
fn jepsens_format() {
    let history = parse(JEPSEN, None).unwrap();
    assert_eq!((history.operations.len(), history.skipped), (6, 1));
    assert!(is_ok(JEPSEN));
    assert!(
        is_ok(&JEPSEN.replace(":read\t1", ":read\t2")),
        "the write may have happened"
    );
    assert!(!is_ok(&JEPSEN.replace(":read\t1", ":read\t4")));
    // A refusal is an answer: the register did not hold 1 or, later, 2.
    assert!(!is_ok(
        &JEPSEN
            .replace("[3 0]", "[1 0]")
            .replace(":write\t2", ":write\t1")
    ));
    assert!(problem(&JEPSEN.replace(":ok\t:cas", ":ok\t:swap")).starts_with("line 8: "));
    let swapped = JEPSEN.replace(":ok\t:read\tnil", ":ok\t:write\tnil");
    assert!(problem(&swapped).contains("not one to what was asked"));
}

#[test]
fn nothing_is_not_taken_for_a_history() {
    assert!(problem("").contains("format"));
    assert!(problem("hello\n").contains("format"));
    let empty = parse("\n\n", Some(Format::Json)).unwrap_err();
    assert!(empty.to_string().contains("no operation"));
}
