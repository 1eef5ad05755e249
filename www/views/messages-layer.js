// Messages between nodes where they truly are, and the requests of clients.

import { s, setAttributes, setText } from "../dom.js";
import { droppedShapes, messageShapes, messageSign, termClass } from "./symbols.js";

/** @import { Layout } from "./ring-layout.js" */
/** @import { ClientMessageView, MessageView, Selection, View } from "../model/types.js" */

/** A dropped message stays for this time of the run, in microseconds. */
const DROPPED_SHOWN = 120_000;
/** A message keeps to the right of its link by this distance, in pixels. */
const ASIDE = 8;
/** Dropped messages of one place lie in so many rows, with this distance in pixels. */
const [ROWS, ROW] = [4, 9];
/** The length of a trail, in pixels. */
const TRAIL = 26;
/** The radius of the target of a message, in pixels. */
const [TARGET, TARGET_TOUCH] = [16, 22];
/** The tint of an isolated node reaches to this multiple of its radius. */
export const ISOLATION = 2;
const CLIENT = { width: 64, height: 28 };
/** The ring has room for the client from this radius of the nodes on, in pixels. */
const CLIENT_ROOM = 24;
/** The width of a character in a pill, and the padding of a pill, in pixels. */
const [CHARACTER, PADDING] = [8.6, 14];
const PILL_HEIGHT = 20;
const PILL_TEXT_MAX = 12;

/** @typedef {{ element: SVGElement, trail?: SVGElement, to: number, shape?: string }} Kept */

/**
 * @param {{ client: SVGElement, messages: SVGElement }} layers
 * @param {(element: Element, selection: Selection) => void} selectable
 * @param {(id: number) => void} focusNode
 */
export function createMessagesLayer(layers, selectable, focusNode) {
  /** @type {Map<string, Kept>} */
  const kept = new Map();
  /** The key of the element that had the focus before the ring was rebuilt. */
  let focused = "";
  let requestText = (/** @type {number} */ _) => "";
  const target = matchMedia("(pointer: coarse)").matches ? TARGET_TOUCH : TARGET;

  /** @param {string} key @param {MessageView} message */
  function build(key, message) {
    const element = s("g", { class: "message", tabindex: -1, role: "button", "data-message": message.id },
      s("title"), s("circle", { class: "reach", r: target }), s("g", { class: "shapes" }));
    const trail = s("line", { class: "trail" });
    selectable(element, { kind: "message", id: message.id });
    layers.messages.append(trail, element);
    const item = { element, trail, to: message.to, shape: "" };
    kept.set(key, item);
    return item;
  }

  /**
   * @param {MessageView} message
   * @param {number | null} droppedAt
   * @param {View} view
   * @param {Layout} layout
   * @param {number} selected
   * @param {Set<string>} seen
   */
  function drawMessage(message, droppedAt, view, layout, selected, seen) {
    const key = `message ${message.id}`;
    seen.add(key);
    const item = kept.get(key) ?? build(key, message);
    const { element, trail } = item;
    const dropped = droppedAt !== null && view.now >= droppedAt;
    const sign = messageSign(message.kind);
    const shape = `${message.kind} ${dropped}`;
    if (item.shape !== shape) {
      item.shape = shape;
      const label = `${sign.name} from ${view.nodes[message.from - 1]?.name} to ${view.nodes[message.to - 1]?.name}, term ${message.term}${dropped ? ", dropped" : ""}`;
      element.setAttribute("aria-label", label);
      setText(/** @type {Element} */ (element.firstChild), label);
      const shapes = dropped ? droppedShapes() : messageShapes(sign);
      if (message.entries > 0 && !dropped) shapes.push(s("text", {}, String(message.entries)));
      element.querySelector(".shapes")?.replaceChildren(...shapes);
    }
    const opacity = dropped ? Math.max(0.25, 1 - (view.now - droppedAt) / DROPPED_SHOWN).toFixed(2) : null;
    const term = termClass(message.term);
    setAttributes(element, { class: `message ${term}${sign.response ? " response" : ""}${dropped ? " lost" : ""}${selected === message.id ? " selected" : ""}`, opacity });
    const then = dropped ? droppedAt : view.now;
    const fraction = (then - message.sentAt) / Math.max(1, message.until - message.sentAt);
    const [p, q] = [layout.place(message.from), layout.place(message.to)];
    const [dx, dy] = [q.x - p.x, q.y - p.y];
    const length = Math.hypot(dx, dy) || 1;
    const rim = layout.radius / length;
    // Messages of an isolated node are dropped at the edge of its side.
    const edge = dropped ? (ISOLATION * layout.radius + 14) / length : 0;
    const [first, lastPlace] = [view.nodes[message.from - 1]?.isolated ? edge : 0, view.nodes[message.to - 1]?.isolated ? 1 - edge : 1];
    const along = Math.min(lastPlace, Math.max(first, rim + (1 - 2 * rim) * Math.min(1, Math.max(0, fraction))));
    const aside = ASIDE + (dropped ? (message.id % ROWS) * ROW : 0);
    const at = (/** @type {number} */ part) => ({ x: p.x + dx * part - (dy / length) * aside, y: p.y + dy * part + (dx / length) * aside });
    const { x, y } = at(along);
    element.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
    if (!trail) return;
    const tail = at(Math.max(rim, along - TRAIL / length));
    const head = at(Math.max(rim, along - 8 / length));
    setAttributes(trail, {
      class: `trail ${term}${dropped ? " lost" : ""}`, opacity,
      x1: tail.x.toFixed(1), y1: tail.y.toFixed(1), x2: head.x.toFixed(1), y2: head.y.toFixed(1),
    });
  }

  /** @param {Layout} layout */
  function drawClient(layout) {
    if (layers.client.hasChildNodes() || layout.radius < CLIENT_ROOM) return;
    const { x, y } = layout.centre;
    // The keyboard reaches the client's panel by its button in the playback bar.
    const client = s("g", { class: "client", "aria-hidden": "true", transform: `translate(${x} ${y})` },
      s("title", {}, "Client: send a request"),
      s("rect", { x: -CLIENT.width / 2, y: -CLIENT.height / 2, ...CLIENT, rx: CLIENT.height / 2 }), s("text", {}, "client"));
    selectable(client, { kind: "client" });
    layers.client.append(client);
  }

  /**
   * @param {ClientMessageView} message
   * @param {View} view
   * @param {Layout} layout
   * @param {Set<string>} seen
   */
  function drawClientMessage(message, view, layout, seen) {
    const key = `client-message ${message.id}`;
    seen.add(key);
    const text = requestText(message.asking).slice(0, PILL_TEXT_MAX);
    let item = kept.get(key);
    if (!item) {
      const label = message.isAnswer ? `Response of n${message.node} to the client` : `Request of the client to n${message.node}`;
      const element = s("g", { class: `client-message${message.isAnswer ? " answer" : ""}`, tabindex: -1, role: "button", "aria-label": label },
        s("title", {}, label), s("rect", { class: "body", y: -PILL_HEIGHT / 2, height: PILL_HEIGHT, rx: PILL_HEIGHT / 2 }), s("circle", { class: "reach", r: target }), s("text"));
      selectable(element, { kind: "request", id: message.asking });
      layers.messages.append(element);
      item = { element, to: message.node, shape: "none" };
      kept.set(key, item);
    }
    if (item.shape !== text) {
      item.shape = text;
      const width = Math.max(PILL_HEIGHT, text.length * CHARACTER + PADDING);
      setAttributes(/** @type {Element} */ (item.element.querySelector(".body")), { x: -width / 2, width });
      setText(/** @type {Element} */ (item.element.querySelector("text")), text);
    }
    const fraction = (view.now - message.sentAt) / Math.max(1, message.arrivesAt - message.sentAt);
    const toNode = Math.min(1, Math.max(0, message.isAnswer ? 1 - fraction : fraction));
    const { x: cx, y: cy } = layout.centre;
    const p = layout.place(message.node);
    const [dx, dy] = [p.x - cx, p.y - cy];
    const length = Math.hypot(dx, dy) || 1;
    const begin = Math.min(0.5, 26 / length);
    const along = begin + (1 - begin - layout.radius / length) * toNode;
    item.element.setAttribute("transform", `translate(${(cx + dx * along).toFixed(1)} ${(cy + dy * along).toFixed(1)})`);
  }

  return {
    /** Removes all elements before the ring is rebuilt. */
    clear() {
      focused = [...kept].find(([, { element }]) => element === document.activeElement)?.[0] ?? "";
      layers.client.replaceChildren();
      layers.messages.replaceChildren();
      kept.clear();
    },
    /** Lights messages. @param {number[]} ids */
    light(ids) {
      for (const [key, { element }] of kept) element.classList.toggle("lit", ids.some((id) => key === `message ${id}`));
    },
    /** @param {(asking: number) => string} text */
    nameRequests(text) {
      requestText = text;
    },
    /**
     * Returns true if an element came or went.
     * @param {View} view
     * @param {Layout} layout
     * @param {number} selected
     */
    draw(view, layout, selected) {
      const before = kept.size;
      /** @type {Set<string>} */
      const seen = new Set();
      if (view.hasClient) drawClient(layout);
      for (const message of view.messages) drawMessage(message, null, view, layout, selected, seen);
      for (const message of view.lost) if (view.now - message.lostAt <= DROPPED_SHOWN) drawMessage(message, message.lostAt, view, layout, selected, seen);
      for (const message of view.clientMessages) drawClientMessage(message, view, layout, seen);
      if (focused) kept.get(focused)?.element.focus();
      focused = "";
      let changed = kept.size !== before;
      for (const [key, { element, trail, to }] of kept) {
        if (seen.has(key)) continue;
        const followed = element === document.activeElement;
        element.remove();
        trail?.remove();
        kept.delete(key);
        changed = true;
        // The focus follows the message to its receiver.
        if (followed) focusNode(to);
      }
      return changed;
    },
  };
}
