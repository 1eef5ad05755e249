// Requests of clients and their results in a few words.

/** @import { Asking } from "./types.js" */

/** A request in a few words. @param {Asking["request"]} request */
export function requestText(request) {
  return request.op === "put" ? `${request.key}=${request.value}` : request.op === "cas" ? `${request.key}→${request.value}` : `${request.op === "get" ? "?" : "✕"}${request.key}`;
}

/** The result of a request in a few words. @param {Asking} asking */
export function resultText({ request, state }) {
  if (state.state === "waiting") return "waits for a response";
  if (state.state === "unknown") return "timed out, unknown outcome";
  if (!("succeeded" in state)) return "";
  if (request.op === "get") return `found ${state.found ?? "nothing"}`;
  return state.succeeded ? "done" : "not done: another value was found";
}
