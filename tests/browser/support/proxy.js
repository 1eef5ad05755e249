// A proxy between browser and node that stops in the middle of a file until the test lets it go on.

import { createServer, request } from "node:http";

/**
 * @param {string} target The URL of the node.
 * @param {string} ending The file that is held: all paths that end so.
 */
export async function holdingProxy(target, ending) {
  /** @type {() => void} */
  let release = () => {};
  /** @type {Promise<void>} */
  const released = new Promise((resolve) => (release = resolve));
  const { hostname, port, origin } = new URL(target);
  const server = createServer((asked, answer) => {
    const headers = { ...asked.headers, host: `${hostname}:${port}` };
    // The node refuses requests of pages of another origin.
    if (headers.origin) headers.origin = origin;
    const passed = request({ hostname, port, path: asked.url, method: asked.method, headers }, async (response) => {
      answer.writeHead(response.statusCode ?? 502, response.headers);
      if (!asked.url?.endsWith(ending)) return response.pipe(answer);
      const chunks = [];
      for await (const chunk of response) chunks.push(chunk);
      const body = Buffer.concat(chunks);
      const half = Math.floor(body.length / 2);
      answer.write(body.subarray(0, half));
      await released;
      answer.end(body.subarray(half));
    });
    passed.on("error", () => answer.destroy());
    asked.pipe(passed);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  return {
    url: `http://localhost:${address.port}`,
    release,
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
