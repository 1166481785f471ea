/** Sizes and times as the admin writes them everywhere: binary units, to three figures. */

import { formatDuration } from "../uploads/js/format.js";
import { fill, gettext, locale } from "../uploads/js/i18n.js";

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const figures = new Intl.NumberFormat(locale, { maximumSignificantDigits: 3, useGrouping: false });
const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });

/** @param {number} bytes */
export function size(bytes) {
  let value = bytes;
  let unit = 0;
  // Not 1,024 MiB: what rounds up to it is one of the next unit.
  while (value >= 1023.5 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value >= 1000 ? whole.format(Math.round(value)) : figures.format(value)} ${UNITS[unit]}`;
}

/** @param {number} bytesPerSecond */
export function speed(bytesPerSecond) {
  return fill(gettext("%(size)s/s"), { size: size(bytesPerSecond) });
}

/** @param {number} value */
export function count(value) {
  return whole.format(value);
}

/** With the space that never breaks. @param {number} value */
export function percent(value) {
  return `${whole.format(value)}\u00a0%`;
}

/** @param {number} seconds */
export function duration(seconds) {
  return seconds < 1 ? gettext("just now") : formatDuration(seconds);
}
