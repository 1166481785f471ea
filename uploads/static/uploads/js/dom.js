/** Small helpers of the views. */

/**
 * An element with attributes (`on…` are listeners, true and false switch an attribute) and children.
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (typeof value === "boolean") node.toggleAttribute(name, value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** Sets text only where it differs, so that unchanged rows cost no layout. @param {Node} node @param {string} text */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * A button that shows a drawing and says its name.
 * @param {string} icon @param {string} label @param {() => void} onclick
 */
export function iconButton(icon, label, onclick) {
  return element(
    "button",
    { type: "button", class: "icon-button", "aria-label": label, title: label, onclick },
    element("span", { class: `icon icon-${icon}`, "aria-hidden": "true" }),
  );
}

/**
 * The element that the page must have.
 * @template {Element} T
 * @param {string} selector @param {new () => T} type @param {ParentNode} [within]
 * @returns {T}
 */
export function find(selector, type, within = document) {
  const node = within.querySelector(selector);
  if (!(node instanceof type)) throw new Error(`The page has no ${selector}.`);
  return node;
}
