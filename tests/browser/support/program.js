// The program under test: RAFT_BIN, or what cargo builds.

import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../", import.meta.url));

/** @type {string | undefined} */
let found;

/**
 * Where the `raft` binary is.
 * @returns {string}
 */
export function raft() {
  found ??= process.env.RAFT_BIN ?? build();
  return found;
}

/** @returns {string} */
function build() {
  const messages = execFileSync(
    "cargo",
    ["build", "--package", "raft-native", "--bin", "raft", "--message-format=json-render-diagnostics"],
    { cwd: ROOT, encoding: "utf8", stdio: ["ignore", "pipe", "inherit"], maxBuffer: 1 << 28 },
  );
  for (const line of messages.split("\n")) {
    if (!line.startsWith("{")) continue;
    const message = JSON.parse(line);
    if (message.executable && message.target?.name === "raft") return message.executable;
  }
  throw new Error("cargo built raft, but doesn't say where it is");
}
