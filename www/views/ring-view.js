// The ring: nodes and links, and their state.

import { s, setAttributes, setText } from "../dom.js";
import { memberRoleMark, memberRoleText } from "../model/membership.js";
import { unreachableText } from "../model/time.js";
import { createRovingTabindex } from "../controls/roving-tabindex.js";
import { ISOLATION, createMessagesLayer } from "./messages-layer.js";
import { createLabels } from "./ring-labels.js";
import { TIMER, layOut } from "./ring-layout.js";
import { CROWN, termClass } from "./symbols.js";

/** @import { NodeView, Selection, View } from "../model/types.js" */
/** @import { LogStrips } from "./ring-labels.js" */

/** Below this radius a node has room for short words only. */
const ROOMY = 25;
/** The width of a character of a name, in pixels: in small discs, and in others. */
const [NAME_SMALL, NAME] = [8.5, 9.5];
/** A learner is smaller than a voter. */
const LEARNER_SCALE = 0.76;
/** The radius that the drawing of a node is made for. */
const DRAWN_RADIUS = 30;

/**
 * @typedef {object} Listener
 * @property {(selection: Selection, at: Element) => void} select
 * @property {(selection: Selection, at: Element) => void} menu A context menu is requested.
 */

/**
 * @param {SVGSVGElement} svg
 * @param {HTMLElement} labelRoot
 * @param {Listener} listener
 */
export function createRingView(svg, labelRoot, listener) {
  const group = (/** @type {string} */ name) => s("g", { role: "group", "aria-label": name });
  const layers = { isolation: s("g"), links: group("Links"), client: s("g"), nodes: group("Nodes"), messages: group("Messages") };
  svg.append(layers.isolation, layers.links, layers.client, layers.nodes, layers.messages);
  /** @type {Map<string, SVGElement>} */
  const kept = new Map();
  let count = 0;
  let layout = layOut(600, 500, 5);
  /** @type {[View, Selection | null] | null} */
  let shown = null;
  const frame = /** @type {HTMLElement} */ (svg.parentElement);
  const rovings = [".node", ".link-group", ".message, .client-message"].map((selector) => createRovingTabindex(frame, selector));
  const labels = createLabels(labelRoot);
  const messages = createMessagesLayer(layers, selectable, (id) => kept.get(`node ${id}`)?.focus());

  /**
   * @param {Element} element
   * @param {Selection} selection
   */
  function selectable(element, selection) {
    element.addEventListener("click", () => listener.select(selection, element));
    element.addEventListener("contextmenu", (event) => {
      event.preventDefault();
      listener.menu(selection, element);
    });
    element.addEventListener("keydown", (event) => {
      if (!(event instanceof KeyboardEvent) || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key !== "Enter" && event.key !== "m") return;
      event.preventDefault();
      event.stopPropagation();
      if (!event.repeat) listener[event.key === "m" ? "menu" : "select"](selection, element);
    });
  }

  /** @param {number} nodes */
  function build(nodes) {
    const focused = [...kept].find(([, element]) => element === document.activeElement)?.[0];
    count = nodes;
    const { width, height } = svg.getBoundingClientRect();
    layout = layOut(Math.max(200, Math.round(width)), Math.max(140, Math.round(height)), count);
    svg.setAttribute("viewBox", layout.viewBox);
    svg.classList.toggle("small", layout.radius < ROOMY);
    messages.clear();
    layers.links.replaceChildren();
    layers.nodes.replaceChildren();
    layers.isolation.replaceChildren();
    kept.clear();
    for (let a = 1; a <= count; a += 1) {
      for (let b = a + 1; b <= count; b += 1) buildLink(a, b);
    }
    for (let id = 1; id <= count; id += 1) buildNode(id);
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
    const r = layout.radius;
    const scale = `scale(${(r / DRAWN_RADIUS).toFixed(3)})`;
    const isolation = s("circle", { class: "isolation", cx: x, cy: y, r: r * ISOLATION, "data-isolation": id });
    layers.isolation.append(isolation);
    kept.set(`isolation ${id}`, isolation);
    const small = r < ROOMY;
    const node = s("g", { class: "node", tabindex: -1, role: "button", transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`, "data-node": id },
      s("title"), s("circle", { class: "reach", r: Math.max(r * TIMER + 2, 22) }),
      s("circle", { class: "track", r: r * TIMER }), s("path", { class: "timer" }),
      s("circle", { class: "disc", r }), s("circle", { class: "inner", r: r - 6 }),
      s("path", { class: "hatch", d: "M-22-20L-28-10M-8-27L-28 4M6-28L-24 18M18-23L-16 24M26-13L-4 28M29 3L10 27", transform: scale }),
      s("path", { class: "cross", d: "M-27-27l9 9M27-27l-9 9M-27 27l9-9M27 27l-9-9", transform: scale }),
      s("path", { class: "crown", d: CROWN, transform: scale }),
      s("circle", { class: "halo", r: r * 1.22 }),
      s("text", { class: "name", y: small ? -1 : -2 }), s("text", { class: "number", y: small ? 13 : 15 }));
    selectable(node, { kind: "node", id });
    layers.nodes.append(node);
    kept.set(`node ${id}`, node);
  }

  /** @param {NodeView} view @param {View} whole @param {boolean} selected */
  function drawNode(view, whole, selected) {
    const node = kept.get(`node ${view.id}`);
    if (!node) return;
    const [down, unreachable] = [view.process === "down", view.process === "unreachable"];
    const part = (/** @type {string} */ name) => /** @type {SVGElement} */ (node.querySelector(`.${name}`));
    const memberRole = memberRoleText(view.memberRole, whole.joint);
    setAttributes(node, {
      "data-role": down || unreachable ? "none" : view.role, "data-process": view.process, "data-term": view.term, "data-member": memberRoleMark(view.memberRole),
      class: `node ${termClass(view.term)}${selected ? " selected" : ""}${whole.blamed === view.id ? " blamed" : ""}`,
      "aria-label": describeNode(view, memberRole),
    });
    // A tooltip that changes with each heartbeat would flicker.
    setText(part("reach").previousElementSibling ?? node, describeNode(view, memberRole));
    const r = layout.radius;
    const learner = view.memberRole.learner && !view.memberRole.outgoing;
    setAttributes(part("disc"), { r: r * (learner ? LEARNER_SCALE : 1) });
    setText(part("name"), fitting(view.name, r));
    const left = view.timer ? Math.max(0, Math.ceil((view.timer.fires - whole.now) / 1000)) : 0;
    // Before the first term, the rest of the timer is what matters.
    const number = !view.term && view.timer ? `${left} ms` : !view.term || (unreachable && !view.seen) ? "" : r < ROOMY ? `t${view.term}` : `term ${view.term}`;
    setText(part("number"), number);
    setAttributes(part("name"), { y: !number ? 6 : r < ROOMY ? -1 : -2 });
    const timer = view.timer && view.role !== "leader" ? view.timer : null;
    setAttributes(part("track"), { visibility: timer ? null : "hidden" });
    setAttributes(part("timer"), { d: timer ? arc(r * TIMER, (timer.fires - whole.now) / (timer.fires - timer.armed)) : "" });
    part("crown").style.display = !down && !unreachable && view.role === "leader" ? "" : "none";
    part("cross").style.display = down ? "" : "none";
    const isolation = kept.get(`isolation ${view.id}`);
    if (isolation) isolation.style.display = view.isolated ? "" : "none";
  }

  /** @param {number} a @param {number} b @param {View} view @param {boolean} selected */
  function drawLink(a, b, view, selected) {
    const link = kept.get(`link ${a}-${b}`);
    const [one, two] = [view.nodes[a - 1], view.nodes[b - 1]];
    if (!link || !one || !two) return;
    const [there, back] = [view.cuts.has(`${a}-${b}`), view.cuts.has(`${b}-${a}`)];
    const dead = [one, two].some(({ process }) => process === "down" || process === "unreachable");
    const leads = [[one, two], [two, one]].find(([leader, follower]) => leader?.role === "leader" && leader.process === "running"
      && follower?.process === "running" && follower.leader === leader.id && follower.term === leader.term)?.[0];
    const term = !dead && !there && !back && !one.isolated && !two.isolated && leads ? leads.term : 0;
    const isolated = one.isolated ? a : two.isolated ? b : 0;
    const key = `${there} ${back} ${selected} ${dead} ${term} ${isolated}`;
    if (link.getAttribute("data-key") === key) return;
    link.setAttribute("data-key", key);
    const state = (there && back) || isolated ? "cut" : there ? `cut from ${one.name} to ${two.name}` : back ? `cut from ${two.name} to ${one.name}` : "works";
    setAttributes(link, {
      class: `link-group ${termClass(term)}${there || back ? " cut" : ""}${dead ? " dead" : ""}${term ? " replicates" : ""}${selected ? " selected" : ""}`,
      "aria-label": `Link between ${one.name} and ${two.name}: ${state}`,
    });
    const marks = /** @type {Element} */ (link.querySelector(".marks"));
    marks.replaceChildren();
    if (!there && !back && !isolated) return;
    const [p, q] = [layout.place(a), layout.place(b)];
    const turn = (Math.atan2(q.y - p.y, q.x - p.x) * 180) / Math.PI;
    const edge = (layout.radius * ISOLATION) / (Math.hypot(q.x - p.x, q.y - p.y) || 1);
    const part = isolated === a ? edge : isolated === b ? 1 - edge : 0.5;
    const mark = s("g", { transform: `translate(${p.x + (q.x - p.x) * part} ${p.y + (q.y - p.y) * part}) rotate(${turn})` },
      s("line", { class: "cut-gap", x1: -7, x2: 7 }), s("line", { class: "bar", y1: -10, y2: 10 }));
    // The arrow-head shows the direction that still works.
    if (there !== back && !isolated) mark.append(s("path", { class: "arrow", d: there ? "M-20 0L-9-6V6z" : "M20 0L9-6V6z" }));
    marks.append(mark);
  }

  /** @param {View} view @param {Selection | null} selection */
  function draw(view, selection) {
    shown = [view, selection];
    if (view.nodes.length !== count) build(view.nodes.length);
    for (const node of view.nodes) drawNode(node, view, selection?.kind === "node" && selection.id === node.id);
    markNextTimer(view);
    for (let a = 1; a <= count; a += 1) {
      for (let b = a + 1; b <= count; b += 1) {
        drawLink(a, b, view, selection?.kind === "link" && selection.a === a && selection.b === b);
      }
    }
    labels.draw(view, layout);
    if (messages.draw(view, layout, selection?.kind === "message" ? selection.id : 0)) rovings[2]?.refresh();
  }

  /** Marks the timer that fires first while no node leads. @param {View} view */
  function markNextTimer(view) {
    const armed = view.nodes.filter((node) => node.timer && node.process === "running");
    const leads = view.nodes.some((node) => node.role === "leader" && node.process === "running");
    const first = leads ? undefined : armed.sort((a, b) => (a.timer?.fires ?? 0) - (b.timer?.fires ?? 0))[0];
    for (const node of view.nodes) kept.get(`node ${node.id}`)?.classList.toggle("next", node === first);
  }

  new ResizeObserver(() => {
    if (!shown) return;
    count = 0;
    draw(...shown);
  }).observe(svg);
  return {
    draw,
    /** @param {LogStrips} strips The ends of the logs. */
    showLogs(strips) {
      labels.showLogs(strips);
      if (shown) labels.draw(shown[0], layout);
    },
    /** Lights messages. @param {number[]} ids */
    light(ids) {
      messages.light(ids);
    },
    /** @param {(asking: number) => string} text The text of a client's request. */
    nameRequests(text) {
      messages.nameRequests(text);
    },
    /**
     * The element that stands for a selection; undefined if there is none.
     * @param {Selection} selection
     */
    element(selection) {
      if (selection.kind === "node") return kept.get(`node ${selection.id}`);
      if (selection.kind === "link") return kept.get(`link ${selection.a}-${selection.b}`);
      return undefined;
    },
  };
}

/**
 * The name, or its end if the disc has no room for all of it. The accessible name is whole.
 * @param {string} name
 * @param {number} radius
 */
function fitting(name, radius) {
  const characters = Math.max(5, Math.floor((2 * radius - 6) / (radius < ROOMY ? NAME_SMALL : NAME)));
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
