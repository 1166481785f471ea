/** A list of rows that are kept from one snapshot to the next, so that a button under the finger stays where it is. */

import { element, setText } from "../uploads/js/dom.js";
import { gettext } from "../uploads/js/i18n.js";

/**
 * One row of a table. `cells` are by name; `data-label` names the column where a narrow screen shows rows as cards.
 * @typedef {{row: HTMLTableRowElement, cells: Record<string, HTMLTableCellElement>, acts: string, actsCell: HTMLTableCellElement}} Row
 * @typedef {{name: string, label: string, className?: string}} Column
 */

export class Rows {
  /**
   * @param {HTMLTableSectionElement} body
   * @param {Column[]} columns
   * @param {(row: Row, data: any) => void} paint puts one upload's data into its row
   * @param {((act: string, data: any, button: HTMLButtonElement) => void) | null} steer null where this person may only look
   * @param {Record<string, string>} labels of the acts
   */
  constructor(body, columns, paint, steer, labels) {
    this.body = body;
    this.columns = columns;
    this.paint = paint;
    this.steer = steer;
    this.labels = labels;
    /** @type {Map<string, Row>} */
    this.rows = new Map();
    /** @type {Map<string, any>} */
    this.data = new Map();
  }

  /** @param {any[]} uploads in the order in which they are shown */
  show(uploads) {
    this.data = new Map(uploads.map((upload) => [upload.id, upload]));
    for (const [id, row] of this.rows) {
      if (!this.data.has(id)) {
        row.row.remove();
        this.rows.delete(id);
      }
    }
    /** @type {Element | null} */
    let after = null;
    for (const upload of uploads) {
      const row = this.rows.get(upload.id) ?? this.make(upload.id);
      this.paint(row, upload);
      this.offer(row, upload);
      /** @type {Element | null} */
      const place = after ? after.nextElementSibling : this.body.firstElementChild;
      if (place !== row.row) this.body.insertBefore(row.row, place);
      after = row.row;
    }
  }

  /** @param {string} id */
  make(id) {
    /** @type {Record<string, HTMLTableCellElement>} */
    const cells = {};
    const line = element("tr");
    for (const { name, label, className } of this.columns) {
      cells[name] = element("td", { "data-label": label, class: className ?? "" });
      line.append(cells[name]);
    }
    const actsCell = element("td", { class: "ddx-row-acts" });
    if (this.steer) line.append(actsCell);
    const row = { row: line, cells, acts: "", actsCell };
    this.rows.set(id, row);
    return row;
  }

  /** The buttons change only when what can be done changes. @param {Row} row @param {any} upload */
  offer(row, upload) {
    const steer = this.steer;
    const acts = upload.acts.join(" ");
    if (!steer || row.acts === acts) return;
    row.acts = acts;
    row.actsCell.replaceChildren(
      ...upload.acts.map((/** @type {string} */ act) => {
        const label = this.labels[act];
        const button = element("button", { type: "button", class: `ddx-button ddx-small ddx-act-${act}` }, label);
        button.setAttribute("aria-label", `${label}: ${upload.name}`);
        button.addEventListener("click", () => steer(act, this.data.get(upload.id) ?? upload, button));
        return button;
      }),
    );
  }
}

/** A file's name as a link to its page, and below it who sends it. @param {HTMLTableCellElement} cell @param {any} upload @param {string} address */
export function paintFile(cell, upload, address) {
  if (!cell.firstElementChild) {
    cell.append(element("a", { href: address, class: "ddx-name" }), element("span", { class: "ddx-who" }));
  }
  const [name, who] = cell.children;
  setText(name, upload.name);
  setText(who, upload.account ?? `${gettext("anonymous")} ${upload.person}`);
}
