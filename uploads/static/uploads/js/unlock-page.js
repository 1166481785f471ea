/** The page of what is locked: gives the password to the server, and shows the real page once it was right. */

import { Problem, unlock } from "./api.js";
import { find, setText } from "./dom.js";

const form = find("form.unlock", HTMLFormElement);
const field = find("input", HTMLInputElement, form);
const button = find("button", HTMLButtonElement, form);
const refusal = find(".form-error", HTMLElement, form);

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  button.disabled = true;
  refusal.hidden = true;
  try {
    await unlock(form.dataset.what ?? "", field.value);
    location.reload();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    // It is no longer locked, or no longer here: the page says so.
    if (["gone", "not_found", "wrong_state"].includes(error.code)) return location.reload();
    setText(refusal, error.message);
    refusal.hidden = false;
    field.setAttribute("aria-invalid", "true");
    field.select();
  }
  button.disabled = false;
});
