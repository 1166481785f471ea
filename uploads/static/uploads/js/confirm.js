/** A question before something that cannot be undone. */

import { element } from "./dom.js";
import { gettext } from "./i18n.js";

/**
 * @param {string} question @param {string} yes the words on the button that does it
 * @returns {Promise<boolean>}
 */
export function confirmed(question, yes) {
  return new Promise((resolve) => {
    const dialog = element(
      "dialog",
      { class: "dialog", "aria-labelledby": "dialog-question" },
      element("p", { id: "dialog-question" }, question),
      element(
        "form",
        { method: "dialog", class: "dialog-buttons" },
        element("button", { class: "button", value: "no" }, gettext("Keep it")),
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
