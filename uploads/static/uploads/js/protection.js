/**
 * Who may have what is sent, how often and how long: the fields of wire.md, in words. Knows no page.
 */

import { formatCount } from "./format.js";
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
  if (life) parts.push(lifeInWords(life));
  if (most) parts.push(counted(ngettext("%(n)s download", "%(n)s downloads", most), most));
  return parts.join(" · ");
}

/** How it stands now; empty where nothing is limited and nothing was downloaded. @param {Controls} controls */
export function controlsInWords({ password, max_downloads: most, downloads, revoked }) {
  const parts = [];
  if (revoked) parts.push(gettext("withdrawn"));
  if (password) parts.push(gettext("password"));
  if (most) {
    const words = ngettext("%(n)s of %(all)s download", "%(n)s of %(all)s downloads", most);
    parts.push(fill(words, { n: formatCount(downloads), all: formatCount(most) }));
  } else if (downloads) {
    parts.push(counted(ngettext("%(n)s download", "%(n)s downloads", downloads), downloads));
  }
  return parts.join(" · ");
}
