//! Transactions over REST: comparisons and operations are atomic, also with concurrent clients.

use anyhow::{Result, ensure};
use hyper::{Method, StatusCode};
use raft_tests::cluster::{Cluster, NODES};
use raft_tests::http::HttpClient;
use serde_json::{Value, json};

async fn txn(http: &mut HttpClient, request: &Value) -> Result<Value> {
    let body = request.to_string();
    let answer = http.ask(Method::POST, "/v1/txn", body.as_bytes()).await?;
    ensure!(answer.status == StatusCode::OK, "{}", answer.text());
    answer.json()
}

#[tokio::test]
async fn txn_branch_is_atomic() -> Result<()> {
    let cluster = Cluster::start(&[]).await?;
    let first = json!({
        "compare": [{ "key": "a", "version": { "equal": 0 } }],
        "success": [
            { "put": { "key": "a", "value": "1" } },
            { "put": { "key_base64": "/w==", "value_base64": "/g==" } },
            { "get": { "key": "a" } },
            { "delete": { "key": "nothing" } },
        ],
        "failure": [{ "get": { "key": "a" } }],
    });
    let done = txn(&mut cluster.http(0), &first).await?;
    assert_eq!(done["succeeded"], true);
    assert_eq!(done["results"][0], json!({ "put": {} }));
    assert_eq!(done["results"][2]["get"]["kv"]["value"], "1");
    assert_eq!(done["results"][3], json!({ "delete": { "deleted": 0 } }));
    // The condition then fails on every node, and nothing is written.
    let again = txn(&mut cluster.http(1), &first).await?;
    assert_eq!(again["succeeded"], false);
    assert_eq!(again["revision"], done["revision"]);
    assert_eq!(again["results"][0]["get"]["kv"]["mod_revision"], done["revision"]);
    let answer = cluster.http(2).ask(Method::GET, "/v1/kv/%FF", b"").await?;
    assert_eq!(answer.body, b"\xfe"[..]);

    let compared = [
        (json!({ "value": { "equal": "1" } }), true),
        (json!({ "value": { "not_equal": "1" } }), false),
        (json!({ "value_base64": { "less": "Mg==" } }), true),
        (json!({ "version": { "greater": 0 } }), true),
        (json!({ "create_revision": { "equal": done["revision"] } }), true),
        (json!({ "mod_revision": { "less": done["revision"] } }), false),
    ];
    for (mut condition, expected) in compared {
        condition["key"] = "a".into();
        let answer = txn(&mut cluster.http(0), &json!({ "compare": [condition] })).await?;
        assert_eq!(answer["succeeded"], expected, "{condition}");
    }
    cluster.finish().await
}

/// Clients increment a value with compare-and-set, each at its own node. No increment is lost.
#[tokio::test]
async fn concurrent_increments_are_all_applied() -> Result<()> {
    const ADDITIONS: u64 = 20;
    let cluster = Cluster::start(&[]).await?;
    txn(&mut cluster.http(0), &json!({ "success": [{ "put": { "key": "sum", "value": "0" } }] }))
        .await?;
    let adders = (0..NODES).map(|node| {
        let mut http = cluster.http(node);
        async move {
            let mut added = 0;
            while added < ADDITIONS {
                let read = json!({ "success": [{ "get": { "key": "sum" } }] });
                let kv = txn(&mut http, &read).await?["results"][0]["get"]["kv"].take();
                let sum: u64 = kv["value"].as_str().unwrap_or_default().parse()?;
                let add = json!({
                    "compare": [{ "key": "sum", "mod_revision": { "equal": kv["mod_revision"] } }],
                    "success": [{ "put": { "key": "sum", "value": (sum + 1).to_string() } }],
                });
                added += u64::from(txn(&mut http, &add).await?["succeeded"] == true);
            }
            anyhow::Ok(())
        }
    });
    for adder in adders.map(tokio::spawn).collect::<Vec<_>>() {
        adder.await??;
    }
    let answer = cluster.http(0).ask(Method::GET, "/v1/kv/sum", b"").await?;
    assert_eq!(answer.text(), (ADDITIONS * NODES as u64).to_string());
    cluster.finish().await
}
