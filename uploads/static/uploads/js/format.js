/** Sizes, speeds and times in words. Units are powers of 1,024, as in the pages that the server makes. */

import { fill, gettext, locale, ngettext } from "./i18n.js";

const number = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });

/** @param {number} bytes */
export function formatSize(bytes) {
  const units = [gettext("%(n)s KB"), gettext("%(n)s MB"), gettext("%(n)s GB"), gettext("%(n)s TB")];
  if (bytes < 1024) return fill(ngettext("%(n)s byte", "%(n)s bytes", bytes), { n: number.format(bytes) });
  let value = bytes / 1024;
  let unit = 0;
  // 1,023.95 would be shown as 1,024.
  while (value >= 1023.95 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return fill(units[unit], { n: number.format(value) });
}

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

/** @param {string | Date} time RFC 3339, or a date */
export function formatTime(time) {
  return new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" }).format(new Date(time));
}

/**
 * A file's name without the marks that turn the order of its letters round: "evil\u202Egpj.exe" would look like a picture.
 * @param {string} name
 */
export const readableName = (name) => name.replace(/[\u202A-\u202E\u2066-\u2069\u200E\u200F\u061C]/g, "");
