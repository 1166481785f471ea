/**
 * Who may have what is sent, how often and how long: the fields of wire.md, in words. Knows no page.
 */

import { formatCount, formatTime } from "./format.js";
import { fill, gettext, ngettext } from "./i18n.js";

/**
 * @typedef {object} Protection only what is limited is named
 * @property {string} [password]
 * @property {number} [max_downloads]
 * @property {number} [expires_in] seconds from completion on
 *
 * @typedef {object} Controls as the server tells the sender; `password`: whether there is one
 * @property {boolean} password
 * @property {number | null} max_downloads
 * @property {number} downloads
 * @property {number | null} expires_in seconds
 * @property {boolean} revoked
 */

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
/** What the pages offer; another client may have chosen anything. */
export const LIVES = [HOUR, DAY, 7 * DAY, 30 * DAY, 365 * DAY];

/** A length of time that somebody chose, in its largest whole unit. @param {number} seconds */
export function lifeInWords(seconds) {
  if (seconds % DAY === 0) return counted(ngettext("%(n)s day", "%(n)s days", seconds / DAY), seconds / DAY);
  if (seconds % HOUR === 0) return counted(ngettext("%(n)s hour", "%(n)s hours", seconds / HOUR), seconds / HOUR);
  const minutes = Math.round(seconds / MINUTE);
  return counted(ngettext("%(n)s minute", "%(n)s minutes", minutes), minutes);
}

/** @param {string} words @param {number} n */
const counted = (words, n) => fill(words, { n: formatCount(n) });

/** What was asked for before sending; empty where nothing was. @param {Protection} protection */
export function protectionInWords({ password, max_downloads: most, expires_in: life }) {
  const parts = [];
  if (password) parts.push(gettext("password"));
  if (life) parts.push(fill(gettext("for %(time)s"), { time: lifeInWords(life) }));
  if (most) parts.push(counted(ngettext("at most %(n)s download", "at most %(n)s downloads", most), most));
  return parts.join(" · ");
}

/** How it stands now; empty where nothing is limited and nothing was downloaded. @param {Controls} controls */
export function controlsInWords({ password, max_downloads: most, downloads, revoked }) {
  const parts = [];
  if (revoked) parts.push(gettext("link withdrawn"));
  if (password) parts.push(gettext("password"));
  if (most) {
    const words = ngettext("%(n)s of %(all)s download used", "%(n)s of %(all)s downloads used", most);
    parts.push(fill(words, { n: formatCount(downloads), all: formatCount(most) }));
  } else if (downloads) {
    parts.push(counted(ngettext("downloaded %(n)s time", "downloaded %(n)s times", downloads), downloads));
  }
  return parts.join(" · ");
}

/**
 * Until when what was complete at these times can be downloaded, with this life; nothing is kept longer than `kept`.
 * @param {string[]} completed RFC 3339; empty where that is still to come
 * @param {number | null} life @param {number | null} kept seconds; null: no end
 */
export function endInWords(completed, life, kept) {
  if (completed.length === 0) return gettext("The time begins when a file is complete.");
  const seconds = Math.min(life ?? Infinity, kept ?? Infinity);
  if (seconds === Infinity) return gettext("Without an end.");
  const ends = completed.map((at) => Date.parse(at) + seconds * 1000);
  const [first, last] = [Math.min(...ends), Math.max(...ends)];
  if (first <= Date.now()) return gettext("That time is over already. Choose a longer one, or withdraw the link.");
  const times = { time: formatTime(new Date(first)), last: formatTime(new Date(last)) };
  if (times.time === times.last) return fill(gettext("Until %(time)s."), times);
  return fill(gettext("Until %(time)s for the file that was complete first, until %(last)s for the last one."), times);
}
