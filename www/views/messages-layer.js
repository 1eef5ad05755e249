// What is on its way: messages between nodes where they truly are, and a client's clientMessages.

import { s, setAttributes } from "../dom.js";
import { DIAMOND, MESSAGES, TRIANGLE, termColour } from "./symbols.js";

/** @import { Layout } from "./ring-layout.js" */
/** @import { ClientMessageView, MessageView, Selection, View } from "../model/types.js" */

/**
 * How long a loss stays to be seen, in microseconds of the run; raft-wasm tells losses for as long.
 */
const LOSS_SHOWN = 400_000;
/** Each direction of a link has its own side of the line. */
const ASIDE = 8;
/** Dropped messages lie in so many rows beside the link, this far apart. */
const [PILE, PILE_STEP] = [4, 7];
const CLIENT = { width: 68, height: 30 };

/**
 * @param {{ client: SVGElement, messages: SVGElement }} layers
 * @param {(element: Element, selection: Selection) => void} selectable
 * @param {(id: number) => void} focusNode
 */
export function createMessagesLayer(layers, selectable, focusNode) {
  /** @type {Map<string, { element: SVGElement, to: number }>} */
  const kept = new Map();
  /**
   * The element that had the focus before the ring was rebuilt.
   * @type {string | undefined}
   */
  let focused;

  /** @param {string} key @param {MessageView} message */
  function build(key, message) {
    const sign = MESSAGES[message.kind] ?? { name: "message", path: DIAMOND, response: false };
    const element = s("g", { class: "message", tabindex: -1, style: `--term: ${termColour(message.term)}`, role: "button", "data-message": message.id },
      s("title"), s("circle", { class: "reach", r: 14 }), s("path", { d: sign.path }));
    if (message.entries > 0) element.append(s("text", {}, String(message.entries)));
    selectable(element, { kind: "message", id: message.id });
    layers.messages.append(element);
    kept.set(key, { element, to: message.to });
    return element;
  }

  /**
   * @param {MessageView} message
   * @param {number | null} lostAt
   * @param {View} view
   * @param {Layout} layout
   * @param {number} selected
   * @param {Set<string>} seen
   */
  function drawMessage(message, lostAt, view, layout, selected, seen) {
    const key = `message ${message.id}`;
    seen.add(key);
    const element = kept.get(key)?.element ?? build(key, message);
    const lost = lostAt !== null && view.now >= lostAt;
    const sign = MESSAGES[message.kind];
    const label = `${sign?.name ?? "Message"} from ${view.nodes[message.from - 1]?.name} to ${view.nodes[message.to - 1]?.name}, term ${message.term}${lost ? ", dropped" : ""}`;
    const state = `message${sign?.response ? " response" : ""}${sign?.refused ? " refused" : ""}${lost ? " lost" : ""}${selected === message.id ? " selected" : ""}`;
    if (element.getAttribute("aria-label") !== label) {
      element.setAttribute("aria-label", label);
      /** @type {Element} */ (element.firstChild).textContent = label;
    }
    setAttributes(element, { class: state, opacity: lost ? Math.max(0.25, 1 - (view.now - lostAt) / LOSS_SHOWN).toFixed(2) : null });
    const then = lost ? lostAt : view.now;
    const fraction = (then - message.sentAt) / Math.max(1, message.until - message.sentAt);
    const [p, q] = [layout.place(message.from), layout.place(message.to)];
    const [dx, dy] = [q.x - p.x, q.y - p.y];
    const length = Math.hypot(dx, dy) || 1;
    const rim = layout.radius / length;
    const along = rim + (1 - 2 * rim) * Math.min(1, Math.max(0, fraction));
    // Messages that are dropped at one place lie beside each other.
    const aside = ASIDE + (lost ? (message.id % PILE) * PILE_STEP : 0);
    const [x, y] = [p.x + dx * along - (dy / length) * aside, p.y + dy * along + (dx / length) * aside];
    element.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
  }

  /**
   * @param {ClientMessageView} clientMessage
   * @param {View} view
   * @param {Layout} layout
   * @param {Set<string>} seen
   */
  function drawClientMessage(clientMessage, view, layout, seen) {
    const key = `client-message ${clientMessage.id}`;
    seen.add(key);
    let element = kept.get(key)?.element;
    const { x: cx, y: cy } = layout.centre;
    if (!element) {
      const label = clientMessage.isAnswer ? `Response of n${clientMessage.node} to the client` : `Request of the client to n${clientMessage.node}`;
      element = s("g", { class: `client-message${clientMessage.isAnswer ? " answer" : ""}`, tabindex: -1, role: "button", "aria-label": label },
        s("title", {}, label), s("circle", { class: "reach", r: 14 }), s("path", { d: TRIANGLE }));
      selectable(element, { kind: "request", id: clientMessage.asking });
      layers.messages.append(element);
      kept.set(key, { element, to: clientMessage.node });
    }
    if (!layers.client.hasChildNodes()) {
      layers.client.append(s("rect", { class: "client-box", x: cx - CLIENT.width / 2, y: cy - CLIENT.height / 2, ...CLIENT, rx: 8 }), s("text", { class: "client-name", x: cx, y: cy }, "client"));
    }
    const fraction = (view.now - clientMessage.sentAt) / Math.max(1, clientMessage.arrivesAt - clientMessage.sentAt);
    const toNode = Math.min(1, Math.max(0, clientMessage.isAnswer ? 1 - fraction : fraction));
    const p = layout.place(clientMessage.node);
    const [dx, dy] = [p.x - cx, p.y - cy];
    const length = Math.hypot(dx, dy) || 1;
    // From the rim of the client's box to that of the node.
    const begin = Math.min(0.5, 34 / length);
    const along = begin + (1 - begin - layout.radius / length) * toNode;
    const turn = (Math.atan2(dy, dx) * 180) / Math.PI + (clientMessage.isAnswer ? 180 : 0);
    element.setAttribute("transform", `translate(${(cx + dx * along).toFixed(1)} ${(cy + dy * along).toFixed(1)}) rotate(${turn.toFixed(1)})`);
  }

  return {
    /** Removes all elements before the ring is rebuilt. */
    clear() {
      focused = [...kept].find(([, { element }]) => element === document.activeElement)?.[0];
      layers.client.replaceChildren();
      layers.messages.replaceChildren();
      kept.clear();
    },
    /**
     * Returns whether anything came or went.
     * @param {View} view
     * @param {Layout} layout
     * @param {number} selected
     */
    draw(view, layout, selected) {
      const before = kept.size;
      /** @type {Set<string>} */
      const seen = new Set();
      for (const message of view.messages) drawMessage(message, null, view, layout, selected, seen);
      for (const message of view.lost) drawMessage(message, message.lostAt, view, layout, selected, seen);
      for (const clientMessage of view.clientMessages) drawClientMessage(clientMessage, view, layout, seen);
      if (focused) kept.get(focused)?.element.focus();
      focused = undefined;
      let changed = kept.size !== before;
      for (const [key, { element, to }] of kept) {
        if (seen.has(key)) continue;
        const followed = element === document.activeElement;
        element.remove();
        kept.delete(key);
        changed = true;
        // The focus follows the message to its receiver.
        if (followed) focusNode(to);
      }
      return changed;
    },
  };
}
