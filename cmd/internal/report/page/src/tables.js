import { h, put } from "./dom.js";
import { bytes, count, length, short } from "./format.js";
import { before, holdup, took } from "./model.js";
import { badge, copyable, failure, link, where, word } from "./detail.js";

// table is a table in a box that scrolls. columns are [name, cell of row, "number" for figures].
export function table(caption, columns, rows) {
  return h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Table: " + caption },
    h("table", null, h("caption", { class: "hidden" }, caption),
      h("thead", null, h("tr", null, columns.map((c) => h("th", { scope: "col", class: c[2] }, c[0])))),
      h("tbody", null, rows.map((r) => h("tr", null, columns.map((c) => h("td", { class: c[2] }, c[1](r))))))));
}

const paged = new Map(); // by box: shows all rows of it, and those before again

// pages shows the first rows, and more when asked.
export function pages(box, make, rows, size = 100) {
  let shown = size;
  const draw = (n) => {
    put(box, make(rows.slice(0, n)), rows.length > n
      ? h("button", { type: "button", class: "more", click: () => draw(shown = n + 400) }, `Show more (${rows.length - n} are left)`) : null);
  };
  let printed = false;
  paged.set(box, {
    all: () => {
      printed = !!box.querySelector(":scope > .more"); // else something else is there now
      if (printed) draw(Infinity);
    },
    again: () => { if (printed) draw(shown); },
  });
  draw(size);
}

// printing shows all rows, and what is folded, while the page is printed.
export function printing() {
  let folded = [];
  window.addEventListener("beforeprint", () => {
    for (const table of paged.values()) table.all();
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const d of folded) d.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const d of folded) d.open = false;
    for (const table of paged.values()) table.again();
  });
}

export function outputs(run, choose) {
  return (rows) => table("Outputs", [
    ["Output", (o) => link(o, choose)],
    ["State", (o) => badge(o.state)],
    ["Verdict", (o) => word(o)],
    ["Took", (o) => (o.start >= 0 ? length(took(o)) : ""), "number"],
    ["Before", (o) => (before(o) ? length(before(o)) : ""), "number"],
    ["Started", (o) => (o.start >= 0 ? length(o.start) : ""), "number"],
    ["Waited for", (o) => waitedFor(o)],
    ["Memory", (o) => (o.memory ? bytes(o.memory) : ""), "number"],
    ["Size", (o) => (o.size ? bytes(o.size) : ""), "number"],
    ["Digest", (o) => h("code", { class: "digest short" }, short(o.digest))],
  ], rows);
}

// waitedFor names the longest wait.
export function waitedFor(o) {
  const names = ["dependencies", "downloads", "another sx", "a job"];
  let at = 0;
  o.waited.forEach((sec, i) => { if (sec > o.waited[at]) at = i; });
  if (!(o.waited[at] >= 0.1)) return "";
  const last = at === 0 && holdup(o);
  return `${last ? last.ref : names[at]} (${length(o.waited[at])})`;
}

export function slowest(run, choose) {
  const rows = run.outputs.filter((o) => o.start >= 0 && o.action !== "preseed").sort((a, b) => took(b) - took(a)).slice(0, 15);
  if (!rows.length) return h("p", null, "Nothing was built.");
  return table("Slowest outputs", [
    ["Output", (o) => link(o, choose)],
    ["Took", (o) => length(took(o)), "number"],
    ["Before", (o) => (before(o) ? length(before(o)) : "first time"), "number"],
    ["Change", change, "number"],
    ["Critical path", (o) => (run.isCritical.has(o.index) ? "yes" : "")],
    ["State", (o) => badge(o.state)],
  ], rows);
}

export function change(o) {
  const was = before(o), now = took(o);
  if (!was || o.end < 0 || o.state !== "built") return "";
  const by = Math.round((100 * (now - was)) / was);
  return by === 0 ? "the same" : h("span", { class: by > 20 ? "slower" : by < -20 ? "faster" : "" }, by > 0 ? `${by} % slower` : `${-by} % faster`);
}

export function failures(run, choose) {
  const failed = run.outputs.filter((o) => o.state === "failed").sort((a, b) => a.end - b.end);
  if (!failed.length) return [h("p", null, run.error ? run.error : "No output failed.")];
  const skipped = run.outputs.filter((o) => o.state === "skipped");
  return failed.map((o, i) => {
    const lost = skipped.filter((k) => k.cause === o.ref);
    return h("details", { class: "failure", open: i < 5, "data-ref": o.ref },
      h("summary", null, i === 0 && failed.length > 1 ? h("strong", null, "First: ") : null, h("strong", null, o.ref), ` failed at ${length(o.end)}`, where(o) ? ` in ${where(o)}` : "",
        lost.length ? `; ${count(lost.length, "output")} skipped for it` : ""),
      failure(o), h("p", null, link(o, choose)));
  });
}

const order = ["MISMATCH", "CHANGED", "UNPROVEN", "MISSING", "UNPUBLISHED", "MATCH"];

export function verdicts(run, choose, box) {
  const rows = run.outputs.filter((o) => o.word).sort((a, b) => order.indexOf(a.word) - order.indexOf(b.word) || (a.tainted ? 1 : 0) - (b.tainted ? 1 : 0) || (a.ref < b.ref ? -1 : 1));
  if (!rows.length) return put(box, h("p", null, run.state === "running" ? "Verdicts come at the end of the run." : "This run judged nothing."));
  return pages(box, (some) => table("Verdicts", [
    ["Output", (o) => link(o, choose)],
    ["Verdict", word],
    ["Evidence", evidence],
    ["Digest", (o) => copyable(o.digest, "digest of " + o.ref, o.word === "MISMATCH")],
    ["Published", (o) => (o.published === o.digest ? "the same" : copyable(o.published, "published digest of " + o.ref, o.word === "MISMATCH"))],
  ], some), rows, 12);
}

// on says which engine built, in words.
export const on = (engine) => (!engine ? "" : engine === "embedded" ? " by the embedded engine" : " on " + engine);

function evidence(o) {
  const parts = [];
  if (o.state === "built") parts.push("built in this run" + on(o.engine));
  else if (o.state === "up to date") parts.push("built before; nothing has changed since");
  else parts.push(o.state);
  if (o.given) parts.push(count(o.given, "input") + " below it not proven");
  if (o.tainted) parts.push("explained by " + o.tainted.join(", "));
  if (o.note) parts.push(o.note);
  return parts.join("; ");
}

export function downloads(run, box) {
  const rows = run.downloads.slice();
  if (!rows.length) return put(box, h("p", null, "Nothing was downloaded."));
  const span = (d) => (d.end >= 0 ? d.end : run.length) - d.start;
  rows.sort((a, b) => (b.error ? 1 : 0) - (a.error ? 1 : 0) || span(b) - span(a));
  return pages(box, (some) => table("Downloads", [
    ["Source or image", (d) => d.name],
    ["Result", (d) => d.error || d.how || "running"],
    ["Bytes", (d) => bytes(d.bytes), "number"],
    ["Took", (d) => length(span(d)), "number"],
    ["Rate", (d) => (span(d) > 0 && d.bytes ? bytes(d.bytes / span(d)) + "/s" : ""), "number"],
    ["From", (d) => d.place || ""],
    ["Given up", (d) => (d.failed || []).join("; ")],
  ], some), rows, 12);
}
