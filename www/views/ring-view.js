// The ring: nodes and links, and how they are.

import { s, setText, setAttributes } from "../dom.js";
import { layOut } from "./ring-layout.js";
import { memberRoleMark, memberRoleText } from "../model/membership.js";
import { createRovingTabindex } from "../controls/roving-tabindex.js";
import { CROWN, termColour } from "./symbols.js";
import { unreachableText } from "../model/time.js";
import { createMessagesLayer } from "./messages-layer.js";

/** @import { NodeView, Selection, View } from "../model/types.js" */

/** Below this radius a node has room for short words only. */
const ROOMY = 36;
/** The width of a character of a name, in a small disc and in others. */
const [NAME_SMALL, NAME] = [10.5, 13];
/** A learner is smaller than the others. */
const LEARNER_SCALE = 0.8;

/**
 * @param {SVGSVGElement} svg
 * @param {(selection: Selection) => void} select
 */
export function createRingView(svg, select) {
  const hatch = s("pattern", { id: "hatch", width: 8, height: 8, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    s("rect", { width: 8, height: 8, style: "fill: var(--panel)" }), s("rect", { width: 3, height: 8, style: "fill: var(--line)" }));
  const group = (/** @type {string} */ name) => s("g", { role: "group", "aria-label": name });
  const layers = { links: group("Links"), client: s("g"), messages: group("Messages"), nodes: group("Nodes") };
  svg.append(s("defs", {}, hatch), layers.links, layers.client, layers.messages, layers.nodes);
  /** @type {Map<string, SVGElement>} */
  const kept = new Map();
  let count = 0;
  /** Lines of text for which there is room below a node. */
  let room = 1;
  let layout = layOut(600, 500, 5, 1);
  /** @type {[View, Selection | null] | null} */
  let shown = null;
  const frame = /** @type {HTMLElement} */ (svg.parentElement);
  const rovings = [createRovingTabindex(frame, ".node"), createRovingTabindex(frame, ".link-group"), createRovingTabindex(frame, ".message, .clientMessage")];
  const traffic = createMessagesLayer(layers, selectable, (id) => kept.get(`node ${id}`)?.focus());

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

  /** @param {number} nodes @param {number} lines */
  function build(nodes, lines) {
    const focused = [...kept].find(([, element]) => element === document.activeElement)?.[0];
    [count, room] = [nodes, lines];
    const { width, height } = svg.getBoundingClientRect();
    layout = layOut(Math.max(200, Math.round(width)), Math.max(200, Math.round(height)), count, lines);
    svg.setAttribute("viewBox", layout.viewBox);
    svg.classList.toggle("small", layout.radius < ROOMY);
    traffic.clear();
    layers.links.replaceChildren();
    layers.nodes.replaceChildren();
    kept.clear();
    for (let a = 1; a <= nodes; a += 1) {
      for (let b = a + 1; b <= nodes; b += 1) buildLink(a, b);
    }
    for (let id = 1; id <= nodes; id += 1) buildNode(id);
    for (const roving of rovings) roving.refresh();
    if (focused) kept.get(focused)?.focus();
  }

  /** @param {number} a @param {number} b */
  function buildLink(a, b) {
    const [p, q] = [layout.place(a), layout.place(b)];
    const ends = { x1: p.x, y1: p.y, x2: q.x, y2: q.y };
    const link = s("g", { class: "link-group", tabindex: -1, role: "button", "data-link": `${a}-${b}` },
      s("line", { class: "link", ...ends }), s("line", { class: "link-target", ...ends }), s("g", { class: "marks" }));
    selectable(link, { kind: "link", a, b });
    layers.links.append(link);
    kept.set(`link ${a}-${b}`, link);
  }

  /** @param {number} id */
  function buildNode(id) {
    const { x, y } = layout.place(id);
    const { radius } = layout;
    const text = layout.text(id);
    const [low, arm] = [radius * 0.42, radius * 0.26];
    const node = s("g", { class: "node", tabindex: -1, role: "button", transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`, "data-node": id },
      s("circle", { class: "halo", r: radius + 15 }), s("circle", { class: "fence", r: radius + 21 }),
      s("path", { class: "timer" }), s("circle", { class: "disc", r: radius }), s("circle", { class: "hollow", r: radius - 6 }),
      s("path", { class: "cross", d: `M${-arm} ${low - arm}L${arm} ${low + arm}M${arm} ${low - arm}L${-arm} ${low + arm}` }),
      s("path", { class: "crown", d: CROWN, transform: radius < ROOMY ? `translate(0 ${-radius - 11}) scale(0.7)` : `translate(0 ${-radius - 16})` }),
      s("text", { class: "name", y: -1 }), s("text", { class: "term", y: radius < ROOMY ? 14 : 19 }),
      s("text", { class: "below", x: text.x, y: text.y, "text-anchor": text.anchor }), s("text", { class: "below standing", x: text.x, y: text.y + 17, "text-anchor": text.anchor }),
      s("g", { class: "pips" }));
    selectable(node, { kind: "node", id });
    layers.nodes.append(node);
    kept.set(`node ${id}`, node);
  }

  /** @param {NodeView} view @param {View} whole @param {boolean} selected */
  function drawNode(view, whole, selected) {
    const node = kept.get(`node ${view.id}`);
    if (!node) return;
    const down = view.process === "down";
    const unreachable = view.process === "unreachable";
    const part = (/** @type {string} */ name) => /** @type {SVGElement} */ (node.querySelector(`.${name}`));
    const memberRole = memberRoleText(view.memberRole, whole.joint);
    setAttributes(node, {
      "data-role": down || unreachable ? "none" : view.role, "data-process": view.process, "data-term": view.term, "data-member": memberRoleMark(view.memberRole),
      class: selected ? "node selected" : "node", style: `--term: ${termColour(down ? 0 : view.term)}`,
      "aria-label": describeNode(view, memberRole),
    });
    const radius = layout.radius * (view.memberRole.learner && !view.memberRole.outgoing ? LEARNER_SCALE : 1);
    setAttributes(part("disc"), { r: Math.max(radius, 20) });
    setText(part("name"), fitting(view.name, layout.radius));
    setText(part("term"), down ? "" : layout.radius < ROOMY ? `t${view.term}` : `term ${view.term}`);
    setText(part("below"), down ? "crashed" : unreachable ? "unreachable" : view.process === "paused" ? "paused" : view.isolated ? "cut off" : `${view.commit} / ${view.last}`);
    setText(part("standing"), memberRole);
    part("crown").style.display = !down && !unreachable && view.role === "leader" ? "" : "none";
    part("cross").style.display = down ? "" : "none";
    part("fence").style.display = view.isolated ? "" : "none";
    setAttributes(part("timer"), { d: view.timer ? arc(layout.radius + 8, (view.timer.fires - whole.now) / (view.timer.fires - view.timer.armed)) : "" });
    drawPips(part("pips"), view);
  }

  /** @param {Element} pips @param {NodeView} view */
  function drawPips(pips, view) {
    const campaigns = view.process === "running" && (view.role === "candidate" || view.role === "pre-candidate");
    const key = campaigns ? `${view.votes}/${view.needed}` : "";
    if (pips.getAttribute("data-key") === key) return;
    pips.setAttribute("data-key", key);
    const pip = (/** @type {unknown} */ _, /** @type {number} */ index) => s("circle", {
      class: index < view.votes ? "pip won" : "pip", r: 6, cx: (index - (view.needed - 1) / 2) * 16, cy: -layout.radius - 22,
    });
    pips.replaceChildren(...(campaigns ? Array.from({ length: Math.max(view.needed, view.votes) }, pip) : []));
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
    setAttributes(link, { class: `link-group${there || back ? " cut" : ""}${selected ? " selected" : ""}`, "aria-label": `Link between ${one} and ${two}: ${state}` });
    const marks = /** @type {Element} */ (link.querySelector(".marks"));
    marks.replaceChildren();
    if (!there && !back) return;
    const [p, q] = [layout.place(a), layout.place(b)];
    const turn = (Math.atan2(q.y - p.y, q.x - p.x) * 180) / Math.PI;
    const mark = s("g", { transform: `translate(${(p.x + q.x) / 2} ${(p.y + q.y) / 2}) rotate(${turn})` }, s("line", { class: "bar", y1: -12, y2: 12 }));
    // The arrow-head shows which way still works.
    if (there !== back) mark.append(s("path", { class: "arrow", d: there ? "M-10-8-20 0-10 8" : "M10-8 20 0 10 8" }));
    marks.append(mark);
  }

  /** @param {View} view @param {Selection | null} selection */
  function draw(view, selection) {
    shown = [view, selection];
    // The second line is what is unusual about a node's part; once there was something, its room
    // stays.
    const lines = view.joint || view.nodes.some((node) => memberRoleText(node.memberRole, false)) ? 2 : room;
    if (view.nodes.length !== count || lines !== room) build(view.nodes.length, lines);
    for (const node of view.nodes) drawNode(node, view, selection?.kind === "node" && selection.id === node.id);
    for (let a = 1; a <= count; a += 1) {
      for (let b = a + 1; b <= count; b += 1) {
        drawLink(a, b, view, selection?.kind === "link" && selection.a === a && selection.b === b);
      }
    }
    if (traffic.draw(view, layout, selection?.kind === "message" ? selection.id : 0)) rovings[2]?.refresh();
  }

  new ResizeObserver(() => {
    if (!shown) return;
    count = 0;
    draw(...shown);
  }).observe(svg);
  return { draw };
}

/**
 * The name, or its end if all of it has no room in the disc. The name for assistive technology is
 * whole.
 * @param {string} name
 * @param {number} radius
 */
function fitting(name, radius) {
  const characters = Math.max(6, Math.floor((2 * radius) / (radius < ROOMY ? NAME_SMALL : NAME)));
  // The dots are as wide as two characters.
  return name.length <= characters ? name : `…${name.slice(2 - characters)}`;
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

/** @param {NodeView} view @param {string} memberRole */
function describeNode(view, memberRole) {
  const part = memberRole ? [memberRole] : [];
  if (view.process === "down") return [`${view.name}: crashed`, ...part].join(", ");
  if (view.process === "unreachable") return [`${view.name}: ${unreachableText(view)}`, ...part].join(", ");
  const state = [view.role, ...part, `term ${view.term}`, `${view.commit} of ${view.last} entries committed`];
  if (view.process === "paused") state.push("paused");
  if (view.isolated) state.push("cut off");
  return `${view.name}: ${state.join(", ")}`;
}
