import { byId, h, put } from "./dom.js";
import { count, length, moment } from "./format.js";
import { prepare, search, took } from "./model.js";
import { concurrencyChart, emptyTimeline, memory, memoryChart, peak, timeline } from "./charts.js";
import { detail, link } from "./detail.js";
import { Graph } from "./graph.js";
import { downloads, failures, on, outputs, pages, printing, slowest, verdicts } from "./tables.js";
import { compare } from "./compare.js";
import { watch } from "./live.js";

const data = JSON.parse(byId("data").textContent);
let run, graph, selected = null, asked = null;

function choose(o) {
  if (!asked) asked = document.activeElement;
  selected = o;
  graph.path = null;
  showDetail();
  drawTimeline();
  drawGraph();
  byId("chosen").focus({ preventScroll: true });
}

function close() {
  selected = null;
  showDetail();
  drawTimeline();
  drawGraph();
  if (asked && asked.isConnected) asked.focus({ preventScroll: true });
  asked = null;
}

function showDetail() {
  const panel = byId("panel");
  document.body.classList.toggle("chosen", !!selected);
  put(panel, selected ? detail(selected, choose, close)
    : h("p", { class: "hint" }, "Choose an output in a table, the timeline or the graph: its reason, digests, waits and dependencies come here."));
}

const width = (id) => Math.max(280, byId(id).clientWidth - 2);

// Pictures of thousands are drawn when they come into view: until then nothing waits for them.
const large = 1000;

// later returns what draws the picture in a box, at once or later. Meanwhile its room is kept.
function later(id, draw, room) {
  let inView = false, stale = false;
  const look = (seen) => {
    inView = seen;
    if (!seen || !stale) return;
    stale = false;
    draw();
  };
  new IntersectionObserver((entries) => look(entries[entries.length - 1].isIntersecting), { rootMargin: "200px" }).observe(byId(id));
  window.addEventListener("beforeprint", () => look(true));
  return () => {
    stale = run.outputs.length > large && !inView;
    if (!stale) draw();
    else if (room && !byId(id).firstChild) put(byId(id), room());
  };
}

const timelineWidth = () => Math.max(width("timeline"), 300);
const drawBars = later("timeline", () => put(byId("timeline"), timeline(run, timelineWidth(), selected, choose)), () => emptyTimeline(run, timelineWidth()));

function drawTimeline() {
  drawBars();
  put(byId("concurrency"), concurrencyChart(run, width("concurrency")));
  const known = peak(memory(run)) > 0;
  put(byId("memory"), known ? memoryChart(run, width("memory")) : h("p", { class: "hint" }, "The memory of nothing that ran is known."));
}

const drawNodes = later("graphbox", () => {
  const box = byId("graphbox"), x = box.scrollLeft, y = box.scrollTop;
  put(box, graph.draw(width("graphbox"), selected));
  box.scrollLeft = x;
  box.scrollTop = y;
});

function drawGraph() {
  put(byId("relations"), graph.relations(selected));
  drawNodes();
}

// answers are what one wants to know first.
function answers() {
  const ran = run.outputs.filter((o) => o.start >= 0 && o.action !== "preseed");
  const slow = ran.slice().sort((a, b) => took(b) - took(a))[0];
  const failed = run.outputs.filter((o) => o.state === "failed").sort((a, b) => a.end - b.end);
  const differs = run.outputs.filter((o) => o.word === "MISMATCH");
  const own = differs.filter((o) => !o.tainted);
  const rows = [];
  const row = (name, cls, ...kids) => rows.push(h("div", { class: "answer " + cls }, h("dt", null, name), h("dd", null, kids)));
  if (failed.length) row("First failure", "bad", link(failed[0], choose), ` at ${length(failed[0].end)}`, failed.length > 1 ? `, then ${failed.length - 1} more` : "");
  else row("Failures", "", run.error ? run.error : "none");
  if (differs.length) {
    const list = own.length ? own : differs;
    row("MISMATCH", "bad", list.slice(0, 4).map((o, i) => [i ? ", " : "", link(o, choose)]), list.length > 4 ? ` and ${list.length - 4} more` : "",
      own.length && own.length < differs.length ? ` (${differs.length - own.length} more differ because of these)` : "");
  } else row("MISMATCH", "", Object.keys(run.counts.verdicts).length ? "none" : "nothing was compared");
  if (slow) row("Slowest", "", link(slow, choose), ` ${length(took(slow))}`, run.isCritical.has(slow.index) ? ", on the critical path" : "");
  else row("Slowest", "", "nothing was built");
  return h("dl", { class: "answers" }, rows);
}

function figures() {
  const c = run.counts, list = [];
  const add = (n, name, cls) => { if (n) list.push(h("li", { class: cls || "" }, h("b", null, n), " ", name)); };
  for (const [w, n] of Object.entries(c.verdicts)) add(n, w, w === "MISMATCH" ? "bad" : "");
  add(c.built, "built");
  add(c.failed, "failed", "bad");
  add(c.skipped, "skipped");
  add(c.not_run, "not run");
  add(c.unchanged, "unchanged");
  add(c.reused, "reused");
  add(c.preseeded, "preseeded");
  add(c.up_to_date, "up to date");
  return h("ul", { class: "figures" }, list);
}

function spared() {
  const v = run.saved, parts = [];
  if (run.counts.unchanged) parts.push(`Early cutoff: ${count(run.counts.unchanged, "output")} not rebuilt, because their dependencies kept their digests${v.unchanged ? `; about ${length(v.unchanged)} of builds` : ""}.`);
  if (v.images) parts.push(`Published images: ${v.images} used in the place of builds${v.published ? `; about ${length(v.published)}` : ""}.`);
  if (run.counts.up_to_date) parts.push(`Up to date: ${count(run.counts.up_to_date, "output")}${v.up_to_date ? `, whose builds took ${length(v.up_to_date)}` : ""}.`);
  if (!parts.length) return h("p", null, "Nothing: all of the plan was built.");
  return h("ul", null, parts.map((p) => h("li", null, p)));
}

function head() {
  const ended = { running: "building", ended: run.code === 0 ? "built" : "failed", interrupted: "interrupted" }[run.state];
  const said = { running: "running", ended: run.code ? `ended with exit code ${run.code}` : "done", interrupted: "interrupted: sx was killed" }[run.state];
  put(byId("state"), h("span", { class: "badge " + ended }, said));
  put(byId("facts"), h("code", null, run.command || "sx"), ` began ${moment(run.began)}, took ${length(run.length)}`, run.left && run.state === "running" ? `, about ${length(run.left)} left` : "",
    run.engine ? ", built" + on(run.engine) : "", run.version ? `, sx ${run.version}` : "", "; run ", h("code", null, run.id));
  const lacks = [];
  if (run.damaged) lacks.push(`${count(run.damaged, "line")} of the kept run could not be read`);
  if (run.lost) lacks.push(`${count(run.lost, "event")} were dropped`);
  put(byId("lacks"), lacks.length ? "Incomplete: " + lacks.join("; ") + "." : "");
}

function critical() {
  const list = run.critical.map((i) => run.outputs[i]);
  const sum = list.reduce((t, o) => t + took(o), 0);
  if (!list.length) return "";
  return h("details", null, h("summary", null, `Critical path: ${count(list.length, "output")}, ${length(sum)} of ${length(run.length)}`),
    h("ol", null, list.map((o) => h("li", null, link(o, choose), ` ${length(took(o))}`))));
}

function showOutputs() {
  const state = byId("bystate").value, stage = byId("bystage").value, sort = byId("sort").value;
  let rows = search(run, byId("search").value).filter((o) => (!state || o.state === state || o.word === state) && (!stage || o.stage === stage));
  if (sort === "time") rows = rows.sort((a, b) => took(b) - took(a));
  if (sort === "start") rows = rows.sort((a, b) => (a.start < 0) - (b.start < 0) || a.start - b.start);
  if (sort === "wait") rows = rows.sort((a, b) => Math.max(...b.waited) - Math.max(...a.waited));
  put(byId("found"), count(rows.length, "output"));
  pages(byId("outputs"), outputs(run, choose), rows, 50);
}

function fillSelect(id, values, all) {
  const select = byId(id), was = select.value;
  put(select, h("option", { value: "" }, all), [...values].sort().map((v) => h("option", { value: v }, v)));
  select.value = [...values].includes(was) ? was : "";
}

function fillControls() {
  fillSelect("bystate", new Set(run.outputs.flatMap((o) => (o.word ? [o.state, o.word] : [o.state]))), "every state");
  fillSelect("bystage", new Set(run.outputs.map((o) => o.stage)), "every stage");
  put(byId("names"));
}

// fillNames fills the list that the fields of the path suggest from, once one of them is used.
function fillNames() {
  const list = byId("names");
  if (!list.firstChild) put(list, run.outputs.map((o) => h("option", { value: o.ref })));
}

// steady calls draw, and then opens, scrolls and focuses what was before, as far as it is
// still there: a live page must not move under the reader.
function steady(draw) {
  const focus = document.activeElement, box = focus && focus.closest("[id]"), ref = focus && focus.getAttribute("data-ref");
  const boxes = ["failures", "critical", "panel", "verdicts", "outputs"].map(byId);
  const opened = boxes.map((b) => [...b.querySelectorAll("details")].map((d) => d.open));
  const scrolled = boxes.map((b) => b.scrollTop);
  draw();
  boxes.forEach((b, i) => {
    [...b.querySelectorAll("details")].forEach((d, k) => { if (k < opened[i].length) d.open = opened[i][k]; });
    b.scrollTop = scrolled[i];
  });
  if (focus && !focus.isConnected && box && byId(box.id)) {
    const again = [...byId(box.id).querySelectorAll("[data-ref]")].find((e) => e.getAttribute("data-ref") === ref) || byId(box.id);
    again.focus({ preventScroll: true });
  }
}

function show(next) {
  run = prepare(next);
  if (graph) graph.update(run);
  else graph = new Graph(run, choose);
  selected = selected && run.byRef.get(selected.ref) || null;
  head();
  put(byId("answers"), answers(), figures());
  put(byId("failures"), failures(run, choose));
  verdicts(run, choose, byId("verdicts"));
  put(byId("critical"), critical());
  put(byId("spared"), spared());
  put(byId("slowest"), slowest(run, choose));
  downloads(run, byId("downloads"));
  put(byId("messages"), run.messages.length ? h("ul", null, run.messages.map((m) => h("li", null, h("span", { class: "time" }, length(m.at)), ` ${m.kind}${m.text ? ": " + m.text : ""}`))) : h("p", null, "None."));
  fillControls();
  showOutputs();
  drawTimeline();
  drawGraph();
  showDetail();
  document.body.classList.toggle("large", run.outputs.length > large);
}

function controls() {
  for (const id of ["search", "bystate", "bystage", "sort"]) byId(id).addEventListener("input", showOutputs);
  byId("colours").addEventListener("change", () => { graph.colours = byId("colours").value; drawGraph(); });
  byId("pathform").addEventListener("focusin", fillNames);
  byId("pathform").addEventListener("submit", (e) => {
    e.preventDefault();
    graph.find(byId("from").value, byId("to").value);
    drawGraph();
  });
  for (const [id, by] of [["zoomin", 1.5], ["zoomout", 1 / 1.5], ["fit", 0]]) {
    byId(id).addEventListener("click", () => { graph.zoom = by ? Math.min(8, Math.max(0.5, graph.zoom * by)) : 1; drawGraph(); });
  }
  document.addEventListener("keydown", (e) => {
    if (e.key === "Escape" && selected) close();
    else if (e.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName)) {
      e.preventDefault();
      byId("search").focus();
    }
  });
  let waits = 0;
  window.addEventListener("resize", () => {
    clearTimeout(waits);
    waits = setTimeout(() => { drawTimeline(); drawGraph(); }, 100);
  });
}

if (data.runs.length === 2) {
  document.body.classList.add("two");
  put(byId("facts"), "Two runs side by side");
  byId("sections").hidden = true;
  byId("panel").hidden = true;
  compare(prepare(data.runs[0]), prepare(data.runs[1]), byId("compare"));
} else {
  byId("compare").hidden = true;
  controls();
  if (data.runs.length) show(data.runs[0]);
  if (data.live) watch((next) => steady(() => show(next)));
}
printing();
document.body.setAttribute("data-ready", "yes");
