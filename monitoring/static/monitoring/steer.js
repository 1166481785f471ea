/** What the buttons do: one POST for each, asked first where it cannot be taken back. */

import { find, setText } from "../uploads/js/dom.js";
import { fill, gettext } from "../uploads/js/i18n.js";

const FINAL = new Set(["cancel"]);

/** @param {string} template the address, with an empty UUID and `act` in the places of the file and the act */
export function steering(template) {
  const dialog = find("#ddx-confirm", HTMLDialogElement);
  const outcome = find("#ddx-outcome", HTMLElement);
  const token = find("input[name=csrfmiddlewaretoken]", HTMLInputElement).value;

  /** @param {any} upload */
  function confirmed(upload) {
    setText(find(".ddx-question", HTMLElement, dialog), fill(gettext("Cancel “%(name)s”?"), { name: upload.name }));
    return new Promise((resolve) => {
      dialog.returnValue = "";
      dialog.onclose = () => resolve(dialog.returnValue === "yes");
      dialog.showModal();
    });
  }

  /** @param {boolean} ok @param {string} text */
  function say(ok, text) {
    outcome.className = ok ? "success" : "error";
    setText(outcome, text);
    outcome.hidden = false;
  }

  /** @param {string} act @param {any} upload @param {HTMLButtonElement} button */
  return async function steer(act, upload, button) {
    if (FINAL.has(act) && !(await confirmed(upload))) return;
    button.disabled = true;
    try {
      const address = template.replace("00000000-0000-0000-0000-000000000000", upload.id).replace(/act$/, act);
      const answer = await fetch(address, {
        method: "POST",
        headers: { Accept: "application/json", "X-CSRFToken": token },
        body: new URLSearchParams({ confirmed: "yes" }),
      });
      const json = answer.headers.get("Content-Type")?.startsWith("application/json");
      const told = json ? (await answer.json()).detail : "";
      say(answer.ok && json === true, `${upload.name}: ${told || gettext("The server refused this; please sign in again.")}`);
    } catch {
      say(false, `${upload.name}: ${gettext("The server could not be reached. Please try again.")}`);
    } finally {
      button.disabled = false;
    }
  };
}
