// The ring: nodes, links, and messages where they truly are.

import { s, say, set } from "./dom.js";
import { CROWN, DIAMOND, MESSAGES, TRIANGLE, termColour } from "./signs.js";

/** @import { LetterView, MessageView, NodeView, Selection, View } from "./types.js" */

const RADIUS = 200;
const LOSS_SHOWN = 400_000;

/**
 * @param {SVGSVGElement} svg
 * @param {(selection: Selection) => void} select
 */
export function createRing(svg, select) {
  const hatch = s("pattern", { id: "hatch", width: 8, height: 8, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    s("rect", { width: 8, height: 8, style: "fill: var(--panel)" }), s("rect", { width: 3, height: 8, style: "fill: var(--line)" }));
  const layers = { links: s("g"), client: s("g"), messages: s("g"), nodes: s("g") };
  svg.append(s("defs", {}, hatch), layers.links, layers.client, layers.messages, layers.nodes);
  /** @type {Map<string, Element>} */
  const kept = new Map();
  let count = 0;

  /** @param {number} id */
  const place = (id) => {
    const angle = (2 * Math.PI * (id - 1)) / count - Math.PI / 2;
    return { x: RADIUS * Math.cos(angle), y: RADIUS * Math.sin(angle) };
  };
  const size = () => (count > 6 ? 34 : 42);

  /**
   * @param {Element} element
   * @param {Selection} selection
   */
  function selectable(element, selection) {
    element.addEventListener("click", () => select(selection));
    element.addEventListener("keydown", (event) => {
      if (event instanceof KeyboardEvent && event.key === "Enter") {
        event.preventDefault();
        select(selection);
      }
    });
  }

  /** @param {number} nodes */
  function build(nodes) {
    count = nodes;
    for (const layer of Object.values(layers)) layer.replaceChildren();
    kept.clear();
    for (let a = 1; a <= nodes; a += 1) {
      for (let b = a + 1; b <= nodes; b += 1) buildLink(a, b);
    }
    for (let id = 1; id <= nodes; id += 1) buildNode(id);
  }

  /** @param {number} a @param {number} b */
  function buildLink(a, b) {
    const [p, q] = [place(a), place(b)];
    const ends = { x1: p.x, y1: p.y, x2: q.x, y2: q.y };
    const link = s("g", { class: "link-group", tabindex: 0, role: "button", "data-link": `${a}-${b}` },
      s("line", { class: "link", ...ends }), s("line", { class: "link-target", ...ends }), s("g", { class: "marks" }));
    selectable(link, { kind: "link", a, b });
    layers.links.append(link);
    kept.set(`link ${a}-${b}`, link);
  }

  /** @param {number} id */
  function buildNode(id) {
    const { x, y } = place(id);
    const radius = size();
    const node = s("g", { class: "node", tabindex: 0, role: "button", transform: `translate(${x} ${y})`, "data-node": id },
      s("circle", { class: "halo", r: radius + 16 }), s("circle", { class: "fence", r: radius + 22 }),
      s("path", { class: "timer" }), s("circle", { class: "disc", r: radius }),
      s("path", { class: "cross", d: `M${-radius * 0.6} ${-radius * 0.6}L${radius * 0.6} ${radius * 0.6}M${radius * 0.6} ${-radius * 0.6}L${-radius * 0.6} ${radius * 0.6}` }),
      s("path", { class: "crown", d: CROWN, transform: `translate(0 ${-radius - 18})` }),
      s("text", { class: "name", y: 2 }), s("text", { class: "term", y: 20 }), s("text", { class: "below", y: radius + 33 }),
      s("g", { class: "pips" }));
    selectable(node, { kind: "node", id });
    layers.nodes.append(node);
    kept.set(`node ${id}`, node);
  }

  /** @param {NodeView} view @param {number} now @param {boolean} selected */
  function drawNode(view, now, selected) {
    const node = kept.get(`node ${view.id}`);
    if (!node) return;
    const down = view.process === "down";
    set(node, {
      "data-role": down ? "none" : view.role, "data-process": view.process, "data-term": view.term,
      class: selected ? "node selected" : "node", style: `--term: ${termColour(down ? 0 : view.term)}`,
      "aria-label": describeNode(view),
    });
    const part = (/** @type {string} */ name) => /** @type {SVGElement} */ (node.querySelector(`.${name}`));
    say(part("name"), view.name);
    say(part("term"), down ? "" : `term ${view.term}`);
    say(part("below"), down ? "crashed" : view.process === "paused" ? "paused" : view.isolated ? "cut off" : `${view.commit} / ${view.last}`);
    part("crown").style.display = !down && view.role === "leader" ? "" : "none";
    part("cross").style.display = down ? "" : "none";
    part("fence").style.display = view.isolated ? "" : "none";
    set(part("timer"), { d: view.timer ? arc(size() + 8, (view.timer.fires - now) / (view.timer.fires - view.timer.armed)) : "" });
    drawPips(part("pips"), view);
  }

  /** @param {Element} pips @param {NodeView} view */
  function drawPips(pips, view) {
    const standing = view.process === "running" && (view.role === "candidate" || view.role === "pre-candidate");
    const key = standing ? `${view.votes}/${view.needed}` : "";
    if (pips.getAttribute("data-key") === key) return;
    pips.setAttribute("data-key", key);
    const pip = (/** @type {unknown} */ _, /** @type {number} */ index) => s("circle", {
      class: index < view.votes ? "pip won" : "pip", r: 6, cx: (index - (view.needed - 1) / 2) * 16, cy: -size() - 22,
    });
    pips.replaceChildren(...(standing ? Array.from({ length: Math.max(view.needed, view.votes) }, pip) : []));
  }

  /** @param {number} a @param {number} b @param {View} view @param {boolean} selected */
  function drawLink(a, b, view, selected) {
    const link = kept.get(`link ${a}-${b}`);
    if (!link) return;
    const [there, back] = [view.cuts.has(`${a}-${b}`), view.cuts.has(`${b}-${a}`)];
    const key = `${there} ${back} ${selected}`;
    if (link.getAttribute("data-key") === key) return;
    link.setAttribute("data-key", key);
    const [one, two] = [view.nodes[a - 1]?.name, view.nodes[b - 1]?.name];
    const state = there && back ? "cut" : there ? `cut from ${one} to ${two}` : back ? `cut from ${two} to ${one}` : "works";
    set(link, { class: `link-group${there || back ? " cut" : ""}${selected ? " selected" : ""}`, "aria-label": `Link between ${one} and ${two}: ${state}` });
    const marks = /** @type {Element} */ (link.querySelector(".marks"));
    marks.replaceChildren();
    if (!there && !back) return;
    const [p, q] = [place(a), place(b)];
    const turn = (Math.atan2(q.y - p.y, q.x - p.x) * 180) / Math.PI;
    const mark = s("g", { transform: `translate(${(p.x + q.x) / 2} ${(p.y + q.y) / 2}) rotate(${turn})` }, s("line", { class: "bar", y1: -12, y2: 12 }));
    if (there !== back) mark.append(s("path", { class: "arrow", d: there ? "M-10-8-20 0-10 8" : "M10-8 20 0 10 8" }));
    marks.append(mark);
  }

  /** @param {View} view @param {Selection | null} selection */
  function drawMessages(view, selection) {
    /** @type {Set<string>} */
    const seen = new Set();
    for (const message of view.messages) {
      const fraction = (view.now - message.sentAt) / Math.max(1, message.until - message.sentAt);
      drawMessage(`message ${message.id}`, message, fraction, "", seen);
      if (selection?.kind === "message" && selection.id === message.id) kept.get(`message ${message.id}`)?.classList.add("selected");
    }
    for (const message of view.lost) {
      drawMessage(`lost ${message.id}`, message, 0.4, " lost", seen);
      const element = kept.get(`lost ${message.id}`);
      if (element) set(element, { opacity: Math.max(0, 1 - (view.now - message.until) / LOSS_SHOWN).toFixed(2) });
    }
    for (const letter of view.letters) drawLetter(letter, view.now, seen);
    for (const [key, element] of kept) {
      if (/^(message|lost|letter)/.test(key) && !seen.has(key)) {
        element.remove();
        kept.delete(key);
      }
    }
  }

  /** @param {string} key @param {MessageView} message @param {number} fraction @param {string} extra @param {Set<string>} seen */
  function drawMessage(key, message, fraction, extra, seen) {
    seen.add(key);
    const sign = MESSAGES[message.kind] ?? { name: "message", path: DIAMOND, response: false };
    let element = kept.get(key);
    if (!element) {
      const label = `${sign.name} from n${message.from} to n${message.to}, term ${message.term}`;
      const kind = `${sign.response ? " response" : ""}${sign.refused ? " refused" : ""}${extra}`;
      element = s("g", { class: `message${kind}`, style: `--term: ${termColour(message.term)}`, role: "img", "aria-label": label },
        s("title", {}, label), s("path", { d: sign.path }));
      if (message.entries > 0) element.append(s("text", {}, String(message.entries)));
      if (!extra) selectable(element, { kind: "message", id: message.id });
      layers.messages.append(element);
      kept.set(key, element);
    }
    const [p, q] = [place(message.from), place(message.to)];
    const [dx, dy] = [q.x - p.x, q.y - p.y];
    const length = Math.hypot(dx, dy) || 1;
    // From rim to rim, and each direction on its own side of the line.
    const rim = size() / length;
    const along = rim + (1 - 2 * rim) * Math.min(1, Math.max(0, fraction));
    const [x, y] = [p.x + dx * along - (dy / length) * 8, p.y + dy * along + (dx / length) * 8];
    element.setAttribute("transform", `translate(${x.toFixed(1)} ${y.toFixed(1)})`);
  }

  /** @param {LetterView} letter @param {number} now @param {Set<string>} seen */
  function drawLetter(letter, now, seen) {
    const key = `letter ${letter.id}`;
    seen.add(key);
    let element = kept.get(key);
    if (!element) {
      const label = letter.isAnswer ? `Answer of n${letter.node} to the client` : `The client asks n${letter.node}`;
      element = s("g", { class: `letter${letter.isAnswer ? " answer" : ""}`, role: "img", "aria-label": label }, s("title", {}, label), s("path", { d: TRIANGLE }));
      layers.messages.append(element);
      kept.set(key, element);
    }
    if (!layers.client.hasChildNodes()) {
      layers.client.append(s("rect", { class: "client-box", x: -34, y: -15, width: 68, height: 30, rx: 8 }), s("text", { class: "client-name" }, "client"));
    }
    const fraction = (now - letter.sentAt) / Math.max(1, letter.arrivesAt - letter.sentAt);
    const toNode = letter.isAnswer ? 1 - fraction : fraction;
    const p = place(letter.node);
    const along = 0.15 + (1 - 0.15 - size() / RADIUS) * Math.min(1, Math.max(0, toNode));
    const turn = (Math.atan2(p.y, p.x) * 180) / Math.PI + (letter.isAnswer ? 180 : 0);
    element.setAttribute("transform", `translate(${(p.x * along).toFixed(1)} ${(p.y * along).toFixed(1)}) rotate(${turn.toFixed(1)})`);
  }

  return {
    /** @param {View} view @param {Selection | null} selection */
    draw(view, selection) {
      if (view.nodes.length !== count) build(view.nodes.length);
      for (const node of view.nodes) drawNode(node, view.now, selection?.kind === "node" && selection.id === node.id);
      for (let a = 1; a <= count; a += 1) {
        for (let b = a + 1; b <= count; b += 1) {
          drawLink(a, b, view, selection?.kind === "link" && selection.a === a && selection.b === b);
        }
      }
      drawMessages(view, selection);
    },
    /** @param {number} id */
    focus(id) {
      const node = kept.get(`node ${id}`);
      if (node instanceof SVGElement) node.focus();
    },
  };
}

/**
 * An arc that begins at the top and covers this part of the circle.
 * @param {number} radius
 * @param {number} part
 */
function arc(radius, part) {
  const clamped = Math.min(0.9999, Math.max(0, part));
  if (clamped === 0) return "";
  const angle = 2 * Math.PI * clamped - Math.PI / 2;
  const [x, y] = [radius * Math.cos(angle), radius * Math.sin(angle)];
  return `M0 ${-radius}A${radius} ${radius} 0 ${clamped > 0.5 ? 1 : 0} 1 ${x.toFixed(2)} ${y.toFixed(2)}`;
}

/** @param {NodeView} view */
function describeNode(view) {
  if (view.process === "down") return `${view.name}: crashed`;
  const state = [view.role, `term ${view.term}`, `${view.commit} of ${view.last} entries committed`];
  if (view.process === "paused") state.push("paused");
  if (view.isolated) state.push("cut off");
  return `${view.name}: ${state.join(", ")}`;
}
