/** What the pages behind links have in common: times as they are where somebody looks, and buttons that copy. */

import "./copy-button.js";
import { formatTime } from "./format.js";

/** Of what the server wrote; without scripts it stays in UTC. */
export function showLocalTimes() {
  for (const time of document.querySelectorAll("time[data-local]")) {
    time.textContent = formatTime(/** @type {HTMLTimeElement} */ (time).dateTime);
  }
}

showLocalTimes();
