/** Which files of a batch the server refused, and why. Knows no page. */

import { explainNoRoom, explainTooLarge } from "./refusals.js";

/** @typedef {import("./upload.js").Upload} Upload @typedef {import("./api.js").Problem} Problem */

/**
 * Those that the refusal names (`errors`: `files.3.size`), each with the reason; of a day that is full, those that do
 * not fit into what is left of it.
 * @param {Problem} problem @param {Upload[]} uploads as they were announced @returns {Map<Upload, string>}
 */
export const leftOut = (problem, uploads) =>
  problem.code === "daily_limit_exceeded" ? withoutRoom(problem, uploads) : named(problem, uploads);

/** @param {Problem} problem @param {Upload[]} uploads @returns {Map<Upload, string>} */
function named(problem, uploads) {
  /** @type {{field: string, reason: string, code?: string, limit?: number}[]} */
  const errors = Array.isArray(problem.body.errors) ? problem.body.errors : [];
  /** @type {Map<Upload, string>} */
  const found = new Map();
  for (const { field, reason, code = problem.code, limit = problem.body.limit } of errors) {
    const upload = uploads[Number(/^files\.(\d+)(\.|$)/.exec(field)?.[1] ?? -1)];
    const isTooLarge = code === "file_too_large" && Number.isFinite(limit);
    if (upload) found.set(upload, isTooLarge ? explainTooLarge(upload.size, limit) : reason);
  }
  return found;
}

/** The first ones go, in the order chosen, as far as there is room. @param {Problem} problem @param {Upload[]} uploads */
function withoutRoom(problem, uploads) {
  const { unit, remaining } = problem.body;
  let left = Number.isFinite(remaining) ? remaining : 0;
  /** @type {Map<Upload, string>} */
  const out = new Map();
  for (const upload of uploads) {
    const cost = unit === "files" ? 1 : upload.size;
    if (cost <= left) left -= cost;
    else out.set(upload, explainNoRoom(problem));
  }
  if (out.size === uploads.length) out.clear(); // then it is not about this file or that
  return out;
}
