/** A question before something that cannot be undone. */

import { element } from "./dom.js";
import { gettext } from "./i18n.js";

/**
 * @param {string} question @param {string} yes the words on the button that does it
 * @param {string} [no] those on the one that does not
 * @returns {Promise<boolean>}
 */
export function confirmed(question, yes, no = gettext("Keep it")) {
  return new Promise((resolve) => {
    const dialog = element(
      "dialog",
      { class: "dialog", "aria-labelledby": "dialog-question" },
      element("p", { id: "dialog-question" }, question),
      element(
        "form",
        { method: "dialog", class: "dialog-buttons" },
        element("button", { class: "button", value: "no" }, no),
        element("button", { class: "button button-danger", value: "yes" }, yes),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
