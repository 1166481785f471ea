/** Refusals in words, where the numbers that came with them say more than the server's sentence. */

import { formatDuration, formatSize } from "./format.js";
import { fill, gettext } from "./i18n.js";

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
    return dailyLimit(limit, (used ?? 0) + (reserved ?? 0), remaining, problem.retryAfter);
  }
  return problem.message;
}

/**
 * @param {number} limit @param {number} used @param {number} remaining bytes
 * @param {number | null} retryAfter seconds
 */
function dailyLimit(limit, used, remaining, retryAfter) {
  const sentence = fill(
    gettext("This is more than is left for today: %(remaining)s of %(limit)s. %(used)s are used or promised."),
    { remaining: formatSize(Math.max(0, remaining)), limit: formatSize(limit), used: formatSize(used) },
  );
  if (!retryAfter) return sentence;
  return `${sentence} ${fill(gettext("The count starts again in %(time)s."), { time: formatDuration(retryAfter) })}`;
}

/** A close whose message did not arrive. @param {import("./connection.js").Ending} ending */
export function explainClose(ending) {
  return fill(gettext("The server ended this upload (%(code)s)."), { code: ending.code || ending.closeCode });
}
