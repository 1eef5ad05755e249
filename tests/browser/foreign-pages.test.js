// Pages of other origins, in a real browser: they can neither write to a node nor read from it.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";

import { launch } from "./support/browser.js";
import { Cluster } from "./support/nodes.js";
import { freePorts } from "./support/ports.js";

/** @import { Browser, Page } from "playwright-core" */
/** @import { Server } from "node:http" */

/** A name that the browser resolves to this machine, as an attacker's DNS server would. */
const EVIL = "evil.example";
const TXN = JSON.stringify({ success: [{ put: { key: "kept", value: "changed" } }] });
/** A frame with the message `Put { key: "kept", value: "changed" }`. */
const GRPC_PUT = "\0\0\0\0\x0f\x0a\x04kept\x12\x07changed";

/** @type {Browser} */
let browser;
/** @type {Cluster} */
let cluster;
/** @type {Server} */
let evil;
let evilPort = 0;

before(async () => {
  cluster = await Cluster.start();
  const written = await fetch(`${node().url}/v1/kv/kept`, { method: "PUT", body: "as it was" });
  assert.equal(written.status, 204);
  evilPort = await freePorts(1);
  evil = createServer((_, response) => {
    response.setHeader("content-type", "text/html");
    response.end("<!doctype html><title>evil</title>");
  });
  await new Promise((resolve) => evil.listen(evilPort, "127.0.0.1", () => resolve(undefined)));
  browser = await launch([`--host-resolver-rules=MAP ${EVIL} 127.0.0.1`]);
});
after(async () => {
  await browser?.close();
  evil?.close();
  await cluster?.stop();
});

function node() {
  const [first] = cluster.nodes.values();
  assert(first);
  return first;
}

/**
 * Opens a page and lets it send requests. Returns how each of them ended for the browser, and what
 * the page could read.
 * @param {string} url
 * @param {{ url: string, options: RequestInit }[]} requests
 */
async function requestsFrom(url, requests) {
  const context = await browser.newContext();
  try {
    const page = await context.newPage();
    await page.goto(url);
    /** @type {string[]} */
    const ends = [];
    page.on("response", (response) => ends.push(`${response.status()}`));
    page.on("requestfailed", (request) => ends.push(request.failure()?.errorText ?? ""));
    const read = await page.evaluate(async (requests) => {
      const texts = [];
      for (const { url, options } of requests) {
        try {
          texts.push(await (await fetch(url, options)).text());
        } catch (error) {
          texts.push(`${error}`);
        }
      }
      return texts;
    }, requests);
    return { ends, read };
  } finally {
    await context.close();
  }
}

async function assertUnchanged() {
  const answer = await fetch(`${node().url}/v1/kv/kept`);
  assert.equal(await answer.text(), "as it was");
}

test("foreign_page_cannot_write_or_read", async () => {
  const { url } = node();
  const plain = { "content-type": "text/plain" };
  const { ends, read } = await requestsFrom(`http://${EVIL}:${evilPort}/`, [
    { url: `${url}/v1/txn`, options: { method: "POST", mode: "no-cors", headers: plain, body: TXN } },
    {
      url: `${url}/raft.KeyValueService/Put`,
      options: { method: "POST", mode: "no-cors", headers: plain, body: GRPC_PUT },
    },
    { url: `${url}/v1/kv/kept`, options: { mode: "no-cors" } },
    { url: `${url}/v1/kv/kept`, options: {} },
    { url: `${url}/v1/kv/kept`, options: { method: "PUT", body: "changed" } },
    { url: `${url}/v1/kv/kept`, options: { method: "DELETE" } },
  ]);
  // Some answers are kept from the page by the browser, because the node's headers say so. The
  // preflights are refused.
  const expected = /^(403|net::ERR_BLOCKED_BY_RESPONSE.*|net::ERR_FAILED)$/;
  for (const end of ends) assert.match(end, expected);
  const reached = ends.filter((end) => end !== "net::ERR_FAILED");
  assert(reached.length >= 3, `${ends}`);
  for (const text of read) assert(!text.includes("as it was"), text);
  await assertUnchanged();
});

test("own_page_cannot_write_with_a_plain_content_type", async () => {
  const { url } = node();
  const plain = { "content-type": "text/plain" };
  const { ends } = await requestsFrom(`${url}/playground/`, [
    { url: `${url}/v1/txn`, options: { method: "POST", headers: plain, body: TXN } },
    { url: `${url}/raft.KeyValueService/Put`, options: { method: "POST", headers: plain, body: GRPC_PUT } },
  ]);
  assert.equal(ends.filter((end) => end === "415").length, 2, `${ends}`);
  await assertUnchanged();
});

test("rebound_name_cannot_write_or_read", async () => {
  // The page was loaded from the attacker's server; then its name leads to the node.
  const rebound = `http://${EVIL}:${new URL(node().url).port}`;
  const { ends, read } = await requestsFrom(`${rebound}/`, [
    { url: `${rebound}/v1/kv/kept`, options: {} },
    { url: `${rebound}/v1/kv/kept`, options: { method: "PUT", body: "changed" } },
    { url: `${rebound}/v1/txn`, options: { method: "POST", headers: { "content-type": "application/json" }, body: TXN } },
  ]);
  assert.deepEqual(ends, ["421", "421", "421"]);
  for (const text of read) assert(!text.includes("as it was"), text);
  await assertUnchanged();
});
