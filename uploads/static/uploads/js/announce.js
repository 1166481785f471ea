/** Sentences for screen readers: polite, and those of one moment in one breath. */

const GATHER_MS = 700;
const MOST = 3;

/** @type {string[]} */
let gathered = [];

/** @param {string} sentence */
export function announce(sentence) {
  if (gathered.push(sentence) > 1) return;
  setTimeout(() => {
    const region = document.getElementById("announcer");
    if (region) region.textContent = gathered.slice(-MOST).join(" ");
    gathered = [];
  }, GATHER_MS);
}
