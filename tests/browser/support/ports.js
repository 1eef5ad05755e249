// Free ports, in TCP and UDP.

import { createSocket } from "node:dgram";
import { createServer } from "node:net";

// Below the range from which systems hand out ports by themselves, and apart from that of the tests
// of processes.
const FIRST = 23_000;
const COUNT = 7_000;

/**
 * The first of several free ports in a row.
 * @param {number} count
 */
export async function freePorts(count) {
  const offset = Math.floor(Math.random() * COUNT);
  for (let step = 0; step + count < COUNT; step += count) {
    const first = FIRST + ((offset + step) % (COUNT - count));
    const row = Array.from({ length: count }, (_, index) => first + index);
    const free = await Promise.all(row.flatMap((port) => [isFreeTcp(port), isFreeUdp(port)]));
    if (free.every(Boolean)) return first;
  }
  throw new Error(`no ${count} free ports in a row`);
}

/** @param {number} port */
function isFreeTcp(port) {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "127.0.0.1" }, () => server.close(() => resolve(true)));
  });
}

/** @param {number} port */
function isFreeUdp(port) {
  return new Promise((resolve) => {
    const socket = createSocket("udp4");
    socket.once("error", () => resolve(false));
    socket.bind(port, "127.0.0.1", () => socket.close(() => resolve(true)));
  });
}
