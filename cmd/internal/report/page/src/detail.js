import { h } from "./dom.js";
import { bytes, count, glyphs, kind, length, short, wordKind } from "./format.js";
import { before, holdup, took } from "./model.js";
import { waits } from "./charts.js";

export const badge = (state) => h("span", { class: "badge " + kind(state) }, (glyphs[state] || "") + " ", state);

export function word(o) {
  return o.verdict ? h("span", { class: "word " + wordKind(o) }, o.verdict) : null;
}

// copyable is a digest with a button that copies it.
export function copyable(digest, what, whole = true) {
  if (!digest) return "none";
  const said = h("span", { class: "said", role: "status" });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(digest);
      said.textContent = " copied";
    } catch {
      const range = document.createRange();
      range.selectNodeContents(code);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      said.textContent = " selected: press Ctrl-C";
    }
  };
  const code = h("code", { class: whole ? "digest" : "digest short", title: digest }, whole ? digest : short(digest));
  return h("span", null, code, " ", h("button", { type: "button", class: "small", click: copy, "aria-label": "Copy " + what }, "Copy"), said);
}

// links are buttons that choose outputs.
export function links(run, list, choose, most = 40) {
  if (!list.length) return "none";
  const shown = list.slice(0, most).map((i) => link(run.outputs[i], choose));
  return h("span", { class: "links" }, shown, list.length > most ? h("span", null, `and ${list.length - most} more`) : null);
}

export const link = (o, choose) => h("button", { type: "button", class: "link " + kind(o.state), click: () => choose(o), "data-ref": o.ref }, o.ref);

function row(list, name, value) {
  if (value !== undefined && value !== null && value !== "" && value !== false) list.push(h("dt", null, name), h("dd", null, value));
}

// where is the file and line that a failure names.
export const where = (o) => (o.file ? o.file + (o.line ? ":" + o.line : "") : "");

export function failure(o) {
  return [
    where(o) ? h("p", null, "At ", h("code", { class: "where" }, where(o))) : null,
    o.error ? h("pre", { class: "error", tabindex: 0, "aria-label": "Error of " + o.ref }, o.error) : null,
    o.tail ? h("pre", { class: "log", tabindex: 0, "aria-label": "End of the log of " + o.ref }, o.tail) : null,
    o.log ? h("p", { class: "hint" }, "The whole log: ", h("code", null, "sx log " + o.ref)) : null,
  ];
}

function waited(o) {
  const last = holdup(o);
  const parts = [];
  if (o.waited[0] > 0) parts.push(`dependencies ${length(o.waited[0])}` + (last ? `, the last was ${last.ref}` : ""));
  if (o.waited[1] > 0) parts.push("downloads " + length(o.waited[1]));
  if (o.waited[2] > 0) parts.push("another sx " + length(o.waited[2]));
  if (o.waited[3] > 0) parts.push("a free job or memory " + length(o.waited[3]));
  return parts.join("; ");
}

// detail is all that is known of an output.
export function detail(o, choose, close) {
  const run = o.run, list = [];
  row(list, "Reason", o.reason);
  row(list, "Because of", o.because && run.byRef.get(o.because) ? link(run.byRef.get(o.because), choose) : o.because);
  row(list, "Verdict", o.verdict ? [word(o), o.note ? h("p", null, o.note) : null] : "");
  row(list, "Digest", o.digest ? copyable(o.digest, "digest of " + o.ref) : "");
  if (o.published !== o.digest) row(list, "Published", o.published ? copyable(o.published, "published digest of " + o.ref) : "");
  row(list, "Tainted by", (o.tainted || []).join(", "));
  if (o.start >= 0) row(list, "Ran", `${length(took(o))}, from ${length(o.start)} to ${o.end >= 0 ? length(o.end) : "now"}`);
  row(list, "Expected", o.expected ? length(o.expected) + (o.guessed ? ", a guess" : "") : "");
  row(list, "Before", before(o) ? length(before(o)) + ((o.history || []).length ? ` (${o.history.map((p) => length(p.seconds)).join(", ")})` : "") : "");
  row(list, "Waited for", waited(o) ? [waited(o), waits(o, 300)] : "");
  row(list, "Engine", o.solved ? `${length(o.solved)}, then ${length(o.commit || 0)} to check and write` : "");
  row(list, "Built on", o.engine);
  row(list, "Memory", o.memory ? bytes(o.memory) : "");
  row(list, "Size", o.size ? bytes(o.size) : "");
  row(list, "Skipped for", o.cause && run.byRef.get(o.cause) ? link(run.byRef.get(o.cause), choose) : o.cause);
  row(list, count(o.depends.length, "dependency").replace("ys", "ies"), links(run, o.depends, choose));
  row(list, count(o.dependents.length, "dependent"), links(run, o.dependents, choose));
  row(list, "Last steps", (o.steps || []).length ? h("ol", { class: "steps" }, o.steps.map((s) => h("li", null, h("span", { class: "time" }, length(s.at)), " ", s.text))) : "");
  return [
    h("div", { class: "panelhead" }, h("h2", { id: "chosen", tabindex: -1 }, o.ref), badge(o.state),
      h("button", { type: "button", class: "small close", click: close, "aria-label": "Close the details" }, "Close")),
    run.isCritical.has(o.index) ? h("p", { class: "hint" }, "On the critical path: a faster build of it would have shortened the run.") : null,
    failure(o), h("dl", null, list),
  ];
}
