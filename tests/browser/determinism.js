// Prints what raft-sim's program of the same name does, from WebAssembly:
// `node determinism.js package seeds`. A part of `cargo xtask determinism`.

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { argv, stdout } from "node:process";
import { pathToFileURL } from "node:url";

const BLOCK = 100;

const [directory, seeds] = argv.slice(2);
if (directory === undefined || seeds === undefined) throw new Error("which package, and how many seeds?");
const { initSync, hashOfSeeds } = await import(pathToFileURL(resolve(directory, "raft_wasm.js")).href);
initSync({ module: readFileSync(resolve(directory, "raft_wasm_bg.wasm")) });
for (let first = 0; first < Number(seeds); first += BLOCK) {
  const count = Math.min(BLOCK, Number(seeds) - first);
  stdout.write(`${first} ${hashOfSeeds(first, count)}\n`);
}
