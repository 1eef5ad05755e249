// Loads the page. If a part cannot be loaded, the page says so.

import { loading } from "./views/loading.js";

try {
  await import("./main.js");
} catch (problem) {
  console.info(problem);
  loading.fail(problem instanceof Error ? problem.message : String(problem));
}
