/** Maintenance is often over sooner than was said: asks now and then, so that nobody waits for nothing. Knows no page. */

import { Problem, quotaInfo } from "./api.js";

const PAUSE_MS = 15_000;

/** Ends the pause as soon as the doors are open again. @param {import("./hold.js").Hold} hold */
export function watchForReopening(hold) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  const lookSoon = () => {
    clearTimeout(timer);
    // Spread, so that the pages of everybody do not ask in the same instant.
    if (hold.isOn && hold.code === "maintenance") timer = setTimeout(look, PAUSE_MS * (1 + Math.random()));
  };
  const look = async () => {
    try {
      await quotaInfo();
      hold.end();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      lookSoon();
    }
  };
  hold.addEventListener("change", lookSoon);
}
