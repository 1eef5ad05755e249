// The client's panel: a form for requests, and the latest requests with their results.

import { byId, h, setText } from "../dom.js";
import { requestText, resultText } from "../model/request-text.js";

/** @import { Action, Asking, ClientRequest, Script, View } from "../model/types.js" */
/** @import { Simulated } from "../sources/simulated.js" */

/** The latest requests that are shown. */
const LATEST = 8;

/**
 * @param {Simulated} source
 * @param {(action: Action) => void} act
 */
export function createClientPanel(source, act) {
  const list = byId("requests", HTMLOListElement);
  const op = byId("op", HTMLSelectElement);
  const value = (/** @type {string} */ id) => byId(id, HTMLInputElement).value;
  /** Texts of requests by their number. @type {Map<number, string>} */
  const texts = new Map();
  let asked = false;
  let shown = "";
  /** The requests whose text is being loaded. @type {Set<number>} */
  const loading = new Set();

  function send() {
    const [key, text] = [value("key"), value("value")];
    /** @type {ClientRequest} */
    const request = op.value === "put" ? { op: "put", key, value: text } : op.value === "cas" ? { op: "cas", key, expected: value("expected") || null, value: text }
      : { op: op.value === "get" ? "get" : "delete", key };
    asked = true;
    act({ do: "request", request });
  }

  byId("client", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    send();
  });

  byId("client-panel", HTMLElement).addEventListener("toggle", () => {
    shown = "";
    panel.show().catch(() => {});
  });

  /** @param {Asking | undefined} latest */
  function showAnswer(latest) {
    const answer = byId("answer", HTMLOutputElement);
    if (!latest) return setText(answer, "");
    const { state, request } = latest;
    const done = request.op === "get" ? ` = ${"found" in state && state.found !== undefined ? state.found : "nothing"}` : `: ${resultText(latest)}`;
    setText(answer, state.state === "waiting" ? `${request.op} ${request.key}: waiting, sent to n${latest.node}`
      : state.state === "unknown" ? `${request.op} ${request.key}: timed out, unknown outcome` : `${request.op} ${request.key}${done}`);
  }

  const panel = {
    send,
    /** The text of a request; empty while it is not known. @param {number} id */
    textOf: (id) => texts.get(id) ?? "",
    /** Loads the texts of the requests that are in flight. @param {View} view */
    see(view) {
      for (const { asking } of view.clientMessages) {
        if (texts.has(asking) || loading.has(asking)) continue;
        loading.add(asking);
        source.asking(asking).then((request) => {
          if (request) texts.set(asking, requestText(request.request));
        }, () => {}).finally(() => loading.delete(asking));
      }
    },
    async show() {
      if (!asked && !byId("client-panel", HTMLElement).matches(":popover-open")) return;
      const latest = (await source.askings(LATEST)).reverse();
      const key = JSON.stringify(latest);
      if (key === shown) return;
      shown = key;
      if (asked) showAnswer(latest[0]);
      list.replaceChildren(...latest.map((request) => h("li", {}, h("time", {}, (request.invoked / 1e6).toFixed(3)),
        h("span", { class: "mono" }, requestText(request.request)), h("span", { class: "dim" }, resultText(request)))));
    },
    /** Forgets all requests before a run begins. @param {Script} script */
    forget(script) {
      asked = script.actions?.some((action) => action.do === "request") ?? false;
      shown = "";
      texts.clear();
      list.replaceChildren();
      setText(byId("answer", HTMLOutputElement), "");
    },
  };
  return panel;
}
