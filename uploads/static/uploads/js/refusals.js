/** Refusals in words, where the numbers that came with them say more than the server's sentence. */

import { formatClock, formatCount, formatSize } from "./format.js";
import { fill, gettext, ngettext } from "./i18n.js";

/** @typedef {import("./api.js").Problem} Problem */

/** The page's own: what was to protect the file is not known any more. */
export const PROTECTION_LOST = "protection_lost";
/** Trying the same again does not help after these. */
const FINAL = new Set(["file_too_large", "file_type_blocked", "forbidden", PROTECTION_LOST]);

/** @param {string} code */
export const maySucceedLater = (code) => !FINAL.has(code);

/** @param {Problem} problem */
export function explain(problem) {
  const { size, limit, used, reserved, remaining } = problem.body;
  if (problem.code === "file_too_large" && Number.isFinite(limit) && Number.isFinite(size)) {
    return explainTooLarge(size, limit);
  }
  if (problem.code === "daily_limit_exceeded" && Number.isFinite(limit) && Number.isFinite(remaining)) {
    const left = Math.max(0, remaining);
    const isFiles = problem.body.unit === "files";
    return withReset(isFiles ? fileLimit(limit, left) : byteLimit(limit, left, (used ?? 0) + (reserved ?? 0)), problem);
  }
  return problem.message;
}

/** @param {number} size @param {number} limit bytes */
export const explainTooLarge = (size, limit) =>
  fill(gettext("This file is too large: it is %(size)s, and a file may be %(limit)s at most."), {
    size: formatSize(size),
    limit: formatSize(limit),
  });

/** @param {number} limit @param {number} left @param {number} used bytes */
const byteLimit = (limit, left, used) =>
  fill(gettext("This is more than is left for today: %(left)s of %(limit)s. The other %(used)s were sent today or are on their way."), {
    left: formatSize(left),
    limit: formatSize(limit),
    used: formatSize(used),
  });

/** @param {number} limit @param {number} left */
const fileLimit = (limit, left) => {
  const sentence = ngettext(
    "No more than %(n)s file may be sent a day; %(left)s is left for today.",
    "No more than %(n)s files may be sent a day; %(left)s are left for today.",
    limit,
  );
  return fill(sentence, { n: formatCount(limit), left: formatCount(left) });
};

/** @param {string} sentence @param {{retryAfter: number | null}} refusal */
function withReset(sentence, { retryAfter }) {
  if (!retryAfter) return sentence;
  // Whole seconds lose a part of the last one, and clocks show no seconds.
  const time = formatClock(new Date(Math.round((Date.now() / 1000 + retryAfter) / 60) * 60_000));
  return `${sentence} ${fill(gettext("The count starts anew at %(time)s."), { time })}`;
}

export const explainLostProtection = () =>
  gettext("This upload had a password or limits and cannot go on. Please set them again under “Protect and limit”, and choose the file once more.");

/** Why a file of a batch was left out of what fits into the day. @param {Problem} problem */
export const explainNoRoom = (problem) => withReset(gettext("It is more than is left for today."), problem);

/** The end of a connection, even where its message did not arrive. @param {import("./connection.js").Ending} ending */
export function explainEnding(ending) {
  if (!ending.detail) {
    return fill(gettext("The server ended this upload (%(code)s)."), { code: ending.code || ending.closeCode });
  }
  return ending.code === "daily_limit_exceeded" ? withReset(ending.detail, ending) : ending.detail;
}
