/** How long to wait before the next try. */

const FIRST_SECONDS = 1;
const LONGEST_SECONDS = 30;

/**
 * Seconds until try number `failures` + 1. The pauses double and are spread at random, so that the pages of everybody
 * do not come back in the same instant after a restart. The server's `retryAfter` is never undercut.
 * @param {number} failures in a row, from 1
 * @param {number | null} [retryAfter] seconds
 */
export function pauseBefore(failures, retryAfter = null) {
  const longest = Math.min(LONGEST_SECONDS, FIRST_SECONDS * 2 ** (failures - 1));
  const spread = longest * (0.5 + Math.random() / 2);
  return retryAfter ? retryAfter + spread / 4 : spread;
}
