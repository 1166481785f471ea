/** Sizes and times as the admin writes them everywhere: binary units, to three figures. */

import { formatCount, formatDuration, formatSize, formatSpeed } from "../uploads/js/format.js";
import { gettext, locale } from "../uploads/js/i18n.js";

const whole = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });

export const size = formatSize;
export const speed = formatSpeed;
export const count = formatCount;

/** With the space that never breaks. @param {number} value */
export function percent(value) {
  return `${whole.format(value)}\u00a0%`;
}

/** @param {number} seconds */
export function duration(seconds) {
  return seconds < 1 ? gettext("just now") : formatDuration(seconds);
}
