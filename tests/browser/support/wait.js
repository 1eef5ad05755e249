// Waiting for something to become true.

const INTERVAL_MS = 20;

/**
 * Asks until the answer is neither undefined, null nor false; what `look` throws counts as no
 * answer.
 * @template T
 * @param {string} what
 * @param {() => Promise<T | undefined | null | false>} look
 * @param {number} [within_ms]
 * @returns {Promise<T>}
 */
export async function until(what, look, within_ms = 120_000) {
  const end = Date.now() + within_ms;
  let obstacle = "";
  for (;;) {
    try {
      const answer = await look();
      if (answer !== undefined && answer !== null && answer !== false) return answer;
      obstacle = "";
    } catch (error) {
      obstacle = ` (last: ${error})`;
    }
    if (Date.now() > end) throw new Error(`not within ${within_ms} ms: ${what}${obstacle}`);
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
  }
}
