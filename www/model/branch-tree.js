// Where the branches of a run part.

/** @import { Branch } from "./types.js" */

/**
 * The other branches, and the moment at which each parts from the shown one. The latest is first.
 * @param {Branch[]} branches
 * @param {number} shown
 * @returns {{ branch: Branch, at: number }[]}
 */
export function partings(branches, shown) {
  const byId = new Map(branches.map((branch) => [branch.id, branch]));
  /** The branch and its ancestors. @param {number | undefined} id */
  const path = (id) => {
    /** @type {Branch[]} */
    const found = [];
    for (let branch = byId.get(id ?? -1); branch; branch = byId.get(branch.parent ?? -1)) found.push(branch);
    return found;
  };
  const present = path(shown);
  return branches.filter(({ id }) => id !== shown).map((branch) => {
    const own = path(branch.id);
    const common = own.find((ancestor) => present.includes(ancestor));
    // Each path leaves the common ancestor at the fork of its next branch.
    const leaves = [present, own].map((branches) => branches[(common ? branches.indexOf(common) : branches.length) - 1]?.forked_at ?? Infinity);
    const at = Math.min(...leaves);
    return { branch, at: Number.isFinite(at) ? at : 0 };
  }).sort((a, b) => b.branch.id - a.branch.id);
}
