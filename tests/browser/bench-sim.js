// Runs worlds in the page's package and says how long each took:
// `node bench-sim.js Node.js|Chromium worlds.json`. A part of `cargo xtask bench sim`.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { argv, cpuUsage, stdout, version } from "node:process";
import { fileURLToPath } from "node:url";

import { launch } from "./support/browser.js";

/**
 * @typedef {{ name: string, lasts: number, back_to: number | null, script: { config: object,
 *   actions: object[] } }} World
 */
/** @typedef {{ seconds: number, backSeconds: number, traceHash: string }} Measured */

const PACKAGE = new URL("../../www/pkg/", import.meta.url);

/**
 * Runs each world once, after a tenth of each that lets the engine optimize. It runs in the page,
 * too, so it must not refer to anything around it.
 * @param {{ worlds: World[], Simulation: any, clock: () => number }} given
 * @returns {Measured[]}
 */
function runAll({ worlds, Simulation, clock }) {
  for (const { lasts, script } of worlds) {
    const warm = new Simulation(script);
    warm.seek(lasts / 10);
    warm.free();
  }
  return worlds.map(({ lasts, back_to: backTo, script }) => {
    const simulation = new Simulation(script);
    const began = clock();
    simulation.seek(lasts);
    const ended = clock();
    const traceHash = simulation.traceHash();
    if (simulation.violation()) throw new Error("a rule is broken");
    const left = clock();
    if (backTo !== null) simulation.seek(backTo);
    const backSeconds = clock() - left;
    simulation.free();
    return { seconds: ended - began, backSeconds, traceHash };
  });
}

/** @param {World[]} worlds */
async function inNode(worlds) {
  const { initSync, Simulation } = await import(new URL("raft_wasm.js", PACKAGE).href);
  initSync({ module: readFileSync(new URL("raft_wasm_bg.wasm", PACKAGE)) });
  // Processor time: what the machine does for others meanwhile does not count. The compiler's
  // threads do.
  const clock = () => (cpuUsage().user + cpuUsage().system) / 1e6;
  return { runtime: `Node.js ${version.slice(1)}`, runs: runAll({ worlds, Simulation, clock }) };
}

/** @param {World[]} worlds */
async function inChromium(worlds) {
  const types = { js: "text/javascript", wasm: "application/wasm" };
  const server = createServer((request, response) => {
    const name = request.url?.split("/").at(-1) ?? "";
    if (name === "") {
      response.setHeader("content-type", "text/html").end("<!doctype html><title>bench</title>");
      return;
    }
    try {
      const file = readFileSync(fileURLToPath(new URL(name, PACKAGE)));
      response.setHeader("content-type", name.endsWith(".wasm") ? types.wasm : types.js).end(file);
    } catch {
      response.writeHead(404).end();
    }
  });
  await /** @type {Promise<void>} */ (new Promise((resolve) => server.listen(0, "127.0.0.1", resolve)));
  const browser = await launch();
  try {
    const page = await browser.newPage();
    const address = /** @type {import("node:net").AddressInfo} */ (server.address());
    await page.goto(`http://127.0.0.1:${address.port}/`);
    const runs = await page.evaluate(
      async ({ worlds, code }) => {
        const from = "/raft_wasm.js";
        const { default: init, Simulation } = await import(from);
        await init();
        const run = new Function(`return ${code}`)();
        return /** @type {Measured[]} */ (run({ worlds, Simulation, clock: () => performance.now() / 1000 }));
      },
      { worlds, code: runAll.toString() },
    );
    return { runtime: `Chromium ${browser.version()}`, runs };
  } finally {
    await browser.close();
    server.close();
  }
}

const [place, path] = argv.slice(2);
if (path === undefined) throw new Error("where, and which worlds?");
/** @type {World[]} */
const worlds = JSON.parse(readFileSync(path, "utf8"));
stdout.write(JSON.stringify(await (place === "Chromium" ? inChromium(worlds) : inNode(worlds))));
