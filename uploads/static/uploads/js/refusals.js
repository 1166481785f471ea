/** Refusals in words, where the numbers that came with them say more than the server's sentence. */

import { formatDuration, formatSize } from "./format.js";
import { fill, gettext, ngettext } from "./i18n.js";

/** @param {import("./api.js").Problem} problem */
export function explain(problem) {
  const { limit, size, used, reserved, remaining } = problem.body;
  if (problem.code === "file_too_large" && Number.isFinite(limit) && Number.isFinite(size)) {
    return fill(gettext("This file is too large: it has %(size)s, and a file may have at most %(limit)s here."), {
      size: formatSize(size),
      limit: formatSize(limit),
    });
  }
  if (problem.code === "daily_limit_exceeded" && Number.isFinite(limit) && Number.isFinite(remaining)) {
    const left = Math.max(0, remaining);
    const sentence = problem.body.unit === "files" ? fileLimit(limit) : byteLimit(limit, left, (used ?? 0) + (reserved ?? 0));
    return problem.retryAfter ? `${sentence} ${resets(problem.retryAfter)}` : sentence;
  }
  return problem.message;
}

/** @param {number} limit @param {number} left @param {number} used bytes */
const byteLimit = (limit, left, used) =>
  fill(gettext("This is more than is left for today: %(left)s of %(limit)s. %(used)s are used or promised."), {
    left: formatSize(left),
    limit: formatSize(limit),
    used: formatSize(used),
  });

/** @param {number} limit */
const fileLimit = (limit) =>
  fill(ngettext("No more than %(n)s file may be sent a day.", "No more than %(n)s files may be sent a day.", limit), {
    n: limit,
  });

/** @param {number} seconds */
const resets = (seconds) => fill(gettext("The count starts again in %(time)s."), { time: formatDuration(seconds) });

/** A close whose message did not arrive. @param {import("./connection.js").Ending} ending */
export function explainClose(ending) {
  return fill(gettext("The server ended this upload (%(code)s)."), { code: ending.code || ending.closeCode });
}
