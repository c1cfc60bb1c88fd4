// Shared by all pages: data from scripts beside the page, and the state of the page in its address.
"use strict";
const DIGITS = new Map([..."0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"].map((letter, k) => [letter, k]));
window.clbench = {
  data: {},

  // Called by the scripts of the folder data, each with a name and plain data.
  add(name, value) {
    this.data[name] = value;
  },

  // The whole numbers of a text: a letter holds five bits of a difference from the number before, and whether more follow.
  unpacked(text) {
    const found = [];
    let [before, rest, scale] = [0, 0, 1];
    for (const letter of text) {
      if (letter === ".") {
        found.push(null);
        continue;
      }
      const digit = DIGITS.get(letter);
      rest += (digit % 32) * scale;
      scale *= 32;
      if (digit > 31) continue;
      before += rest % 2 ? -(rest + 1) / 2 : rest / 2;
      found.push(before);
      [rest, scale] = [0, 1];
    }
    return found;
  },

  // The state of the page: the names and values after # in its address.
  state() {
    return new URLSearchParams(location.hash.slice(1));
  },

  // Write the state; without values if all are empty. With "replace" there is no new step for the back button.
  setState(pairs, replace) {
    const params = new URLSearchParams();
    for (const [name, value] of Object.entries(pairs)) if (value) params.set(name, value);
    const text = params.toString().replaceAll("%2C", ",").replaceAll("%3A", ":").replaceAll("%2F", "/");
    if (text === location.hash.slice(1)) return;
    if (replace) location.replace("#" + text);
    else location.hash = text;
  },

  // Call a function with the state now and whenever the address changes.
  onState(apply) {
    addEventListener("hashchange", () => apply(this.state()));
    apply(this.state());
  },

  // An element with text and attributes; texts never become HTML.
  element(name, text, attributes) {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    return made;
  },

  // Let DataTables sort a table. What has no value stays last in both orders.
  table(node, settings) {
    const headings = [...node.tHead.rows[0].cells];
    const last = (sign) => (a, b) => (isNaN(a) || isNaN(b) ? isNaN(a) - isNaN(b) : sign * (a - b));
    const number = (text) => (String(text).trim() === "" ? NaN : Number(text));
    DataTable.type("score", { order: { pre: number, asc: last(1), desc: last(-1) } });
    return new DataTable(node, {
      autoWidth: false,
      order: [],
      columnDefs: headings.map((heading, place) => ({
        targets: place,
        name: heading.dataset.name || String(place),
        type: heading.classList.contains("n") ? "score" : "string",
        orderSequence: heading.dataset.first === "desc" ? ["desc", "asc"] : ["asc", "desc"],
        visible: heading.dataset.hidden === undefined,
      })),
      ...settings,
    });
  },
};
