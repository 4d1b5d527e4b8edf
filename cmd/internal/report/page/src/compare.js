import { h, put } from "./dom.js";
import { badge, copyable } from "./detail.js";
import { count, length, moment } from "./format.js";
import { took } from "./model.js";
import { pages, table } from "./tables.js";

// differences lists what two runs do not have in common: [kind, a, b, seconds].
export function differences(a, b) {
  const rows = [];
  for (const o of b.outputs) {
    const was = a.byRef.get(o.ref);
    if (!was) {
      rows.push({ ref: o.ref, a: null, b: o, kinds: ["new"], by: took(o) });
      continue;
    }
    const kinds = [];
    let by = 0;
    if (was.state === "built" && o.state === "built") {
      by = took(o) - took(was);
      if (Math.abs(by) >= 1 && Math.abs(by) >= 0.1 * took(was)) kinds.push(by > 0 ? "slower" : "faster");
    }
    if (was.digest && o.digest && was.digest !== o.digest) kinds.push("other digest");
    if (was.state !== o.state && !(kinds.length === 0 && was.state === "built" && o.state === "up to date")) kinds.push("other state");
    if ((was.verdict || o.verdict) && was.verdict && o.verdict && was.verdict !== o.verdict) kinds.push("other verdict");
    if (kinds.length) rows.push({ ref: o.ref, a: was, b: o, kinds, by });
  }
  for (const o of a.outputs) if (!b.byRef.has(o.ref)) rows.push({ ref: o.ref, a: o, b: null, kinds: ["gone"], by: 0 });
  return rows.sort((x, y) => Math.abs(y.by) - Math.abs(x.by) || (x.ref < y.ref ? -1 : 1));
}

export function compare(a, b, main) {
  const rows = differences(a, b);
  const kinds = ["slower", "faster", "other digest", "other verdict", "other state", "new", "gone"];
  const n = (k) => rows.filter((r) => r.kinds.includes(k)).length;
  const box = h("div");
  const show = (kind) => pages(box, (some) => table("Differences", [
    ["Output", (r) => r.ref],
    ["Difference", (r) => r.kinds.join(", ")],
    ["A took", (r) => (r.a && r.a.start >= 0 ? length(took(r.a)) : ""), "number"],
    ["B took", (r) => (r.b && r.b.start >= 0 ? length(took(r.b)) : ""), "number"],
    ["By", (r) => (r.a && r.b && r.by ? (r.by > 0 ? "+" : "−") + length(Math.abs(r.by)) : ""), "number"],
    ["A", (r) => (r.a ? badge(r.a.state) : "")],
    ["B", (r) => (r.b ? badge(r.b.state) : "")],
    ["Digests", (r) => (r.kinds.includes("other digest") ? [copyable(r.a.digest, "digest of A"), h("br"), copyable(r.b.digest, "digest of B")] : "")],
  ], some), rows.filter((r) => !kind || r.kinds.includes(kind)));
  const pick = h("select", { id: "differs", change: () => show(pick.value) }, h("option", { value: "" }, `all (${rows.length})`),
    kinds.map((k) => h("option", { value: k }, `${k} (${n(k)})`)));
  const fact = (name, of) => ({ name, a: of(a), b: of(b) });
  const facts = [
    fact("Run", (r) => r.id), fact("Began", (r) => moment(r.began)), fact("Command", (r) => r.command || ""), fact("State", (r) => r.state),
    fact("Took", (r) => length(r.length)), fact("Engine", (r) => r.engine || ""), fact("Built", (r) => r.counts.built), fact("Unchanged", (r) => r.counts.unchanged),
    fact("Up to date", (r) => r.counts.up_to_date), fact("Failed", (r) => r.counts.failed),
    fact("Verdicts", (r) => Object.entries(r.counts.verdicts).map(([w, k]) => k + " " + w).join(", ")),
    fact("Bytes downloaded", (r) => count(r.downloads.length, "download")),
  ];
  facts[facts.length - 1].name = "Downloads";
  put(main, h("section", { "aria-labelledby": "h-runs" }, h("h2", { id: "h-runs" }, "The two runs"),
    table("Facts of both", [["Fact", (f) => f.name], ["A", (f) => f.a], ["B", (f) => f.b]], facts)),
  h("section", { "aria-labelledby": "h-diff" }, h("h2", { id: "h-diff" }, "What differs"),
    h("p", { class: "controls" }, h("label", { for: "differs" }, "Show "), pick), box));
  show("");
}
