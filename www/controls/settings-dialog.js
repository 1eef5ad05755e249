// Cluster setup: initial members, network, snapshots and clients of a run.

import { nonDefaultConfig } from "../model/url-state.js";
import { byId } from "../dom.js";

/** @import { Script } from "../model/types.js" */
/** @typedef {NonNullable<Script["config"]>} Config */

const input = (/** @type {string} */ id) => byId(id, HTMLInputElement);

/**
 * The settings that fit a cluster of this many nodes.
 * @param {Config} config
 * @param {number} nodes
 * @returns {Config}
 */
export function clampToNodes(config, nodes) {
  const { founders, witnesses, ...rest } = config;
  const fits = Math.max(founders ?? 0, ...(witnesses ?? [])) <= nodes;
  return fits ? config : rest;
}

/**
 * @param {(config: Config) => void} begin With the settings that are not defaults, and the number
 *   of nodes.
 */
export function createSettingsDialog(begin) {
  const dialog = byId("settings", HTMLDialogElement);
  const nodes = () => Number(byId("nodes", HTMLSelectElement).value);

  function open() {
    const { founders, witnesses, snapshot_every, clients, loss_per_mille, latency } = nonDefaultConfig();
    input("founders").max = String(nodes());
    input("founders").value = String(founders ?? nodes());
    input("witnesses").value = String(witnesses?.length ?? 0);
    input("snapshot-every").value = String(snapshot_every ?? 0);
    input("clients").value = String(clients ?? 0);
    input("loss").value = String((loss_per_mille ?? 0) / 10);
    input("latency-min").value = String((latency?.min ?? 5000) / 1000);
    input("latency-max").value = String((latency?.max ?? 15000) / 1000);
    check();
    dialog.showModal();
  }

  /** Marks settings that the simulation would refuse. */
  function check() {
    const [founders, witnesses] = [Number(input("founders").value), Number(input("witnesses").value)];
    const most = Math.max(0, Math.ceil(founders / 2) - 1);
    input("witnesses").setCustomValidity(witnesses > most ? `At most ${most} of ${founders} initial members can be witnesses: a majority of witnesses alone is not allowed.` : "");
    const late = Number(input("latency-min").value) > Number(input("latency-max").value);
    input("latency-max").setCustomValidity(late ? "The longest latency is below the shortest one." : "");
  }

  byId("settings-open", HTMLButtonElement).addEventListener("click", open);
  dialog.addEventListener("input", check);
  byId("settings-cancel", HTMLButtonElement).addEventListener("click", () => dialog.close());
  byId("settings-form", HTMLFormElement).addEventListener("submit", () => {
    const number = (/** @type {string} */ id) => Number(input(id).value);
    /** @type {Config} */
    const config = { ...nonDefaultConfig(), nodes: nodes() };
    for (const name of /** @type {const} */ (["founders", "witnesses", "snapshot_every", "clients", "loss_per_mille", "latency"])) delete config[name];
    const founders = number("founders");
    if (founders < nodes()) config.founders = founders;
    if (number("witnesses")) config.witnesses = Array.from({ length: number("witnesses") }, (_, index) => founders - index).reverse();
    if (number("snapshot-every")) config.snapshot_every = number("snapshot-every");
    if (number("clients")) config.clients = number("clients");
    if (number("loss")) config.loss_per_mille = Math.round(number("loss") * 10);
    const latency = { min: Math.round(number("latency-min") * 1000), max: Math.round(number("latency-max") * 1000) };
    if (latency.min !== 5000 || latency.max !== 15000) config.latency = latency;
    begin(config);
  });
}
