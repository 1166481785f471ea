/**
 * The words of Django's JavaScript catalogue. Without it (its request failed, or in a worker) the English text stands.
 */

/** @type {any} */
const catalog = globalThis;

/** @type {(text: string) => string} */
export const gettext = catalog.gettext ?? ((text) => text);

/** @type {(one: string, many: string, count: number) => string} */
export const ngettext = catalog.ngettext ?? ((one, many, count) => (count === 1 ? one : many));

/**
 * Puts `values` in the place of their `%(name)s`.
 * @param {string} text
 * @param {Record<string, string | number>} values
 */
export function fill(text, values) {
  return text.replace(/%\((\w+)\)s/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

const language = globalThis.document?.documentElement.lang || "en";

/** The page's language as the person's own country writes numbers, dates and times. */
export const locale = navigator.languages.find((tag) => tag.split("-")[0] === language) ?? language;
