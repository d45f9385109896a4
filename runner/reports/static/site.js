// SPDX-FileCopyrightText: 2026 The kfunc-runner authors
// SPDX-License-Identifier: GPL-2.0-or-later

// The page's own behaviour. Alpine binds it to the markup; evidence comes as scripts, since file:// allows no fetch.
"use strict";

const answers = new Map(); // key -> Promise; keys are paths below data/, without .js
const arrived = new Map(); // key -> resolve

function evidence(key, data) { // called by the files in data/
  arrived.get(key)?.(data);
}

function load(key) {
  if (!answers.has(key)) {
    answers.set(key, new Promise((resolve, reject) => {
      arrived.set(key, resolve);
      const script = document.createElement("script");
      script.src = `${document.body.dataset.up}data/${key}.js`;
      script.onerror = () => { answers.delete(key); reject(new Error(`${script.src} is not there`)); };
      document.head.append(script);
    }));
  }
  return answers.get(key);
}

const EMPTY = { title: "", where: "", square: null, log: "", declared: "", problem: "", loading: false, page: "", permanent: "", heading: "", isCell: false };

document.addEventListener("alpine:init", () => Alpine.data("page", () => ({
  // --- the filter; everything that is chosen stands in the address, behind # -------------------------------------
  query: "", wanted: [], differ: false, count: "",
  rows: [],

  init() {
    const tools = document.querySelector(".tools");
    if (tools) {
      this.rows = [...document.querySelectorAll("table.grid tbody tr[data-slug]")].map((row) => ({
        row, states: row.dataset.states, text: `${row.cells[0].textContent} ${row.dataset.objects}`.toLowerCase(),
      }));
      this.follow();
      this.filter();
      this.$watch("query", () => this.chosen());
      this.$watch("wanted", () => this.chosen());
      this.$watch("differ", () => this.chosen());
    }
    document.querySelector("table.grid td")?.setAttribute("tabindex", "0");
    window.addEventListener("hashchange", () => this.follow());
    this.open(this.address().get("at"));
  },

  address() { return new URLSearchParams(location.hash.slice(1)); },

  go(values, replace) {
    const address = this.address();
    for (const [name, value] of Object.entries(values)) value ? address.set(name, value) : address.delete(name);
    const hash = `#${address}`;
    if (hash === (location.hash || "#")) return;
    if (replace) location.replace(hash); else location.hash = hash;
  },

  chosen() {
    this.filter();
    this.go({ q: this.query, state: this.wanted.join(""), differ: this.differ ? "1" : "" }, true);
  },

  filter() {
    const words = this.query.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = [...this.wanted];
    let shown = 0;
    for (const { row, states, text } of this.rows) {
      const fits = words.every((word) => text.includes(word))
        && (!wanted.length || wanted.some((state) => states.includes(state)))
        && (!this.differ || states.length > 1);
      if (row.hidden === fits) row.hidden = !fits;
      shown += fits;
    }
    for (const title of document.querySelectorAll("table.grid tr.family")) {
      let row = title.nextElementSibling;
      while (row?.hidden) row = row.nextElementSibling;
      title.hidden = !row?.dataset.slug;
    }
    const noun = document.body.dataset.noun;
    this.count = shown === this.rows.length ? `${shown} ${noun}s` : `${shown} of ${this.rows.length} ${noun}s`;
  },

  follow() { // the address changed: by us, by a link, or by the back button
    const address = this.address();
    if (this.rows.length) {
      this.query = address.get("q") ?? "";
      if (this.wanted.join("") !== (address.get("state") ?? "")) this.wanted = [...(address.get("state") ?? "")];
      this.differ = address.has("differ");
      for (const link of document.querySelectorAll(".views a")) link.hash = location.hash;
    }
    const at = address.get("at");
    if (at !== this.opened) this.open(at);
  },

  // --- the grid ---------------------------------------------------------------------------------------------------
  pick(event) {
    const box = event.target.closest("td, th[data-cell]");
    if (box) this.show(box);
  },

  show(box) {
    const table = box.closest("table");
    const cell = box.dataset.cell ?? table.tHead.rows[0].cells[box.cellIndex].dataset.cell;
    const row = box.closest("tr");
    const type = row.dataset.type ?? document.body.dataset.type;
    const parts = box.tagName === "TH" ? [cell] : [cell, row.dataset.slug, type, row.dataset.probe ?? ""];
    this.go({ at: parts.map((part) => part.replace(/[%/]/g, encodeURIComponent)).join("/").replace(/\/+$/, "") });
  },

  move(event) {
    const box = event.target.closest("td");
    if (!box) return;
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); this.show(box); }
    if (!step) return;
    event.preventDefault();
    let row = box.parentElement;
    if (step[0]) do row = step[0] < 0 ? row.previousElementSibling : row.nextElementSibling; while (row && (row.hidden || row.classList.contains("family")));
    const next = row?.cells[box.cellIndex + step[1]];
    if (next?.tagName !== "TD") return;
    box.removeAttribute("tabindex");
    next.setAttribute("tabindex", "0");
    next.focus();
  },

  // --- the evidence -----------------------------------------------------------------------------------------------
  at: { ...EMPTY }, logs: {}, guest: null, opened: null,

  async open(at) {
    this.opened = at;
    if (!at) { this.$refs.dialog.close(); return; }
    const [cell, slug, type = "", probe] = at.split("/").map((part) => part.replace(/%(25|2F)/g, decodeURIComponent));
    this.logs = {};
    this.guest = null;
    this.at = { ...EMPTY, loading: true, where: slug ? cell : "", title: slug ?? cell, isCell: !slug, permanent: location.href };
    if (!this.$refs.dialog.open) this.$refs.dialog.showModal();
    try {
      if (!/^[\w.-]+$/.test(cell) || (slug && !/^[\w-]+$/.test(slug))) throw new Error("This address names nothing.");
      const data = await load(slug ? `kfunc/${slug}` : `cell/${cell}`);
      if (this.opened !== at) return; // another square was opened meanwhile
      const square = slug ? data.cells[cell]?.[type] : { ...data, verdicts: null };
      if (!square) throw new Error("There is no such answer in this site.");
      const held = square.verdicts?.length ?? 0;
      if (slug) this.at.title = type ? `${data.kfunc} · ${type}` : data.kfunc;
      this.at.page = slug ? `${document.body.dataset.up}kfunc/${slug}.html` : "";
      this.at.log = square.log == null ? "" : data.texts[square.log];
      this.at.declared = square.declared == null ? "" : data.texts[square.declared];
      this.at.heading = held ? `Expected of it (${held})` : "Nothing is expected of it";
      this.at.square = { ...square, verdicts: slug ? [...square.verdicts].sort((a, b) => rank(a, probe) - rank(b, probe)) : null };
      if (!slug) this.guest = data;
      if (probe) this.$nextTick(() => { const first = this.$refs.dialog.querySelector(".probe"); if (first) first.open = true; });
    } catch (error) {
      if (this.opened === at) this.at.problem = error.message;
    } finally {
      this.at.loading = false;
    }
  },

  async unfold(probe, element) {
    if (!element.open || this.logs[probe]) return;
    const at = this.opened;
    const [cell, slug] = at.split("/");
    try {
      const logs = await load(`logs/${cell}/${slug}`);
      if (this.opened === at) this.logs[probe] = logs[probe];
    } catch (error) { this.at.problem = error.message; }
  },

  async unfoldConsole(element) {
    if (!element.open || this.guest || !this.opened) return;
    const at = this.opened;
    try {
      const guest = await load(`cell/${at.split("/")[0]}`);
      if (this.opened === at) this.guest = guest;
    } catch (error) { this.at.problem = error.message; }
  },

  toEnd() { const box = this.$el; this.$nextTick(() => { box.scrollTop = box.scrollHeight; }); }, // where the reason is

  close() { this.$refs.dialog.close(); },
  closed() { this.go({ at: "" }); },
  outside(event) { if (event.target === this.$refs.dialog) this.close(); },
})));

// the probe that was asked for first, then what does not hold
function rank(verdict, probe) {
  if (verdict.probe === probe) return -1;
  return { bad: 0, q: 1, x: 1 }[verdict.css] ?? 2;
}
