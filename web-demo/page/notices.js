/*
 * notices.js - what the reader must know, in a list above the terminal.
 *
 * A notice has a key: saying it again replaces its text instead of adding a second one. The list is
 * an ARIA live region; a countdown inside a notice is hidden from it, or it would be read out each
 * second.
 */
const MARKS = { error: "Error", warning: "Warning", info: "Note" };

export class Notices {
  #list;
  #shown = new Map();

  /** @param {HTMLElement} list */
  constructor(list) {
    this.#list = list;
  }

  /**
   * Shows or replaces the notice `key`.
   * @param {string} key
   * @param {{ level: "error"|"warning"|"info", title: string, text: string,
   *           action?: { label: string, run: () => void } }} notice
   */
  show(key, { level, title, text, action }) {
    const before = this.#shown.get(key);
    if (before && before.dataset.said === `${title}\n${text}`) return;
    const item = document.createElement("li");
    item.className = `notice ${level}`;
    item.dataset.notice = key;
    item.dataset.said = `${title}\n${text}`;
    const head = document.createElement("strong");
    head.textContent = title;
    const mark = document.createElement("span");
    mark.className = "visually-hidden";
    mark.textContent = `${MARKS[level]}: `;
    head.prepend(mark);
    const body = document.createElement("p");
    body.textContent = text; // never as markup: part of it may come from a peer
    const tail = document.createElement("span");
    tail.className = "countdown";
    tail.ariaHidden = "true";
    body.append(" ", tail);
    item.append(head, body);
    if (action) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = action.label;
      button.addEventListener("click", action.run);
      item.append(button);
    }
    if (before) before.replaceWith(item);
    else this.#list.append(item);
    this.#shown.set(key, item);
  }

  /** Sets the running tail of a notice, e.g. "Retrying in 4 s." */
  countdown(key, text) {
    const tail = this.#shown.get(key)?.querySelector(".countdown");
    if (tail && tail.textContent !== text) tail.textContent = text;
  }

  has(key) {
    return this.#shown.has(key);
  }

  hide(key) {
    this.#shown.get(key)?.remove();
    this.#shown.delete(key);
  }

  clear() {
    for (const key of [...this.#shown.keys()]) this.hide(key);
  }
}
