// The demo and one Chromium for all tests of a file.

import { after, before } from "node:test";

import { launch } from "./browser.js";
import { startDemo } from "./nodes.js";
import { hash } from "./playground.js";

/** @import { Browser } from "playwright-core" */

/**
 * Starts `raft demo` and a browser before the tests of a file, and stops both after them. The
 * fields of the result are valid inside of tests.
 */
export function useDemo() {
  /** @type {Browser | undefined} */
  let browser;
  /** @type {Awaited<ReturnType<typeof startDemo>> | undefined} */
  let demo;
  before(async () => {
    demo = await startDemo();
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await demo?.stop();
  });
  return {
    /** The browser of the file. */
    get browser() {
      if (!browser) throw new Error("the browser has not started");
      return browser;
    },
    /** The URL of the first node, without a slash at the end. */
    get url() {
      if (!demo) throw new Error("the demo has not started");
      return demo.url;
    },
    /** The URL of a run. @param {string | Parameters<typeof hash>[0]} run A hash, or its parts. */
    playground(run) {
      return `${this.url}/playground/#${typeof run === "string" ? run : hash(run)}`;
    },
  };
}
