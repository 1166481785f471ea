/** Sizes, speeds and times in words. */

import { fill, gettext, locale, ngettext } from "./i18n.js";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const figures = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, useGrouping: false });
const number = new Intl.NumberFormat(locale);
/** The Hindi clock has 24 hours: browsers would write "am" and "pm", in Latin letters between words that are not. */
const CLOCK = /** @type {{hourCycle?: "h23"}} */ (locale.startsWith("hi") ? { hourCycle: "h23" } : {});

/** To three figures, as quotas/sizes.py writes them on the pages that the server makes. @param {number} bytes */
export function formatSize(bytes) {
  let value = bytes;
  let unit = 0;
  // Not 1024 MiB: what rounds up to it is one of the next unit.
  while (value >= 1023.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value >= 1000 ? Math.round(value) : figures.format(value)} ${UNITS[unit]}`;
}

/** A number of things: "9,743". @param {number} count */
export const formatCount = (count) => number.format(count);

/** @param {number} bytesPerSecond */
export function formatSpeed(bytesPerSecond) {
  return fill(gettext("%(size)s/s"), { size: formatSize(Math.round(bytesPerSecond)) });
}

/** A length of time, to two units. @param {number} seconds */
export function formatDuration(seconds) {
  const whole = Math.max(1, Math.round(seconds));
  if (whole < 60) return fill(gettext("%(s)s s"), { s: whole });
  if (whole < 3600) return fill(gettext("%(m)s min %(s)s s"), { m: Math.floor(whole / 60), s: whole % 60 });
  const minutes = Math.round(whole / 60);
  if (minutes < 48 * 60) return fill(gettext("%(h)s h %(m)s min"), { h: Math.floor(minutes / 60), m: minutes % 60 });
  const days = Math.round(minutes / 60 / 24);
  return fill(ngettext("%(n)s day", "%(n)s days", days), { n: days });
}

/** The time of day here: "05:30". @param {string | Date} time RFC 3339, or a date */
export function formatClock(time) {
  return new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit", ...CLOCK }).format(new Date(time));
}

/** @param {string | Date} time RFC 3339, or a date */
export function formatTime(time) {
  return new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short", ...CLOCK }).format(new Date(time));
}

const DIRECTION_MARKS = /[\u202A-\u202E\u2066-\u2069\u200E\u200F\u061C]/g;
const SEEN = /[^\p{Cf}\p{Z}\p{M}]/u;

/**
 * A file's name without the marks that turn the order of its letters round: "evil\u202Egpj.exe" would look like a
 * picture. The pages that the server makes do the same (shared.py).
 * @param {string} name
 */
export function readableName(name) {
  const readable = name.replace(DIRECTION_MARKS, "");
  return SEEN.test(readable) ? readable : gettext("(a name that cannot be seen)");
}
