// Real nodes: the demo, and three processes of which one can be killed.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { freePorts } from "./ports.js";
import { raft } from "./program.js";
import { until } from "./wait.js";

/** A process, all that it said, and how it ended. */
class Process {
  /** @param {string[]} args */
  constructor(args) {
    this.said = "";
    this.child = spawn(raft(), args, { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding("utf8").on("data", (text) => (this.said += text));
    }
    /** @type {Promise<number | NodeJS.Signals | null>} */
    this.ended = new Promise((resolve) => {
      this.child.once("exit", (code, signal) => resolve(code ?? signal));
      this.child.once("error", (error) => resolve((this.said += error, null)));
    });
  }

  /** Fails if the process has ended. */
  check() {
    if (this.child.exitCode !== null) {
      throw new Error(`a node ended with ${this.child.exitCode}:\n${this.said}`);
    }
  }

  /** @param {NodeJS.Signals} signal */
  async end(signal) {
    this.child.kill(signal);
    return await this.ended;
  }
}

/** `raft demo` on free ports. */
export async function startDemo() {
  const port = await freePorts(3);
  const demo = new Process(["demo", "--port", String(port)]);
  const url = `http://localhost:${port}`;
  await until("the demo has a leader", async () => {
    demo.check();
    return leaderOf(url);
  });
  return {
    url,
    async stop() {
      assert.equal(await demo.end("SIGINT"), 0, `the demo stops with success:\n${demo.said}`);
    },
  };
}

/** Three processes. */
export class Cluster {
  static async start() {
    const cluster = new Cluster();
    cluster.directory = await mkdtemp(join(tmpdir(), "raft-browser-"));
    const first = await freePorts(3);
    cluster.ports = [first, first + 1, first + 2];
    for (const [index] of cluster.ports.entries()) cluster.launch(`node${index + 1}`);
    await cluster.leader();
    return cluster;
  }

  /** Starts a node that does not run, on the data that it has. @param {string} name */
  launch(name) {
    assert(!this.nodes.has(name), `${name} does not run`);
    const port = this.ports[Number(name.slice("node".length)) - 1];
    const peers = this.ports.filter((other) => other !== port).map((other) => `localhost:${other}`);
    const data = join(this.directory, name);
    const args = ["--node-id", name, "--port", `${port}`, "--peers", peers.join(","), "--data-dir", data];
    this.nodes.set(name, { url: `http://localhost:${port}`, process: new Process(args) });
  }

  constructor() {
    this.directory = "";
    /** @type {number[]} */
    this.ports = [];
    /** @type {Map<string, { url: string, process: Process }>} */
    this.nodes = new Map();
  }

  /** The name of the leader on which all that run agree. */
  async leader() {
    return await until("all nodes agree on a leader", async () => {
      const said = new Set();
      for (const { url, process } of this.nodes.values()) {
        process.check();
        said.add(await leaderOf(url));
      }
      const [leader] = said;
      return said.size === 1 && this.nodes.has(leader) ? leader : undefined;
    });
  }

  /** `kill -9`. @param {string} name */
  async kill(name) {
    const node = this.nodes.get(name);
    assert(node, `${name} runs`);
    this.nodes.delete(name);
    assert.equal(await node.process.end("SIGKILL"), "SIGKILL");
  }

  /**
   * Stops or continues a process that stays alive.
   * @param {string} name
   * @param {"SIGSTOP" | "SIGCONT"} signal
   */
  signal(name, signal) {
    this.nodes.get(name)?.process.child.kill(signal);
  }

  async stop() {
    for (const { process } of this.nodes.values()) await process.end("SIGKILL");
    await rm(this.directory, { recursive: true });
  }
}

/**
 * Whom a node takes for the leader.
 * @param {string} url
 * @returns {Promise<string | undefined>}
 */
async function leaderOf(url) {
  const answer = await fetch(`${url}/v1/status`, { signal: AbortSignal.timeout(2_000) });
  const status = await answer.json();
  return status.leader ?? undefined;
}
