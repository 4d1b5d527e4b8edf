import { s } from "./dom.js";
import { bytes, glyphs, kind, length } from "./format.js";
import { steps, took } from "./model.js";

const left = 44, right = 12; // room beside the plots

// ticks are about so many round times.
function ticks(span, wanted) {
  const sizes = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400, 604800];
  const size = sizes.find((x) => span / x <= wanted) || span / wanted;
  const out = [];
  for (let i = 0; i * size <= span && out.length < 50; i++) out.push(i * size);
  return out;
}

function axis(svg, run, width, height, scale) {
  for (const t of ticks(run.length || 1, Math.max(2, width / 110))) {
    svg.append(s("line", { class: "tick", x1: scale(t), x2: scale(t), y1: 0, y2: height - 18 }),
      s("text", { class: "label", x: scale(t), y: height - 4, "text-anchor": t === 0 ? "start" : "middle" }, length(t)));
  }
}

const scaleOf = (run, width) => (t) => left + (Math.max(0, t) / (run.length || 1)) * Math.max(1, width - left - right);

// rows are those of the timeline, and how high it is with them.
function rowsOf(run) {
  const ran = run.outputs.filter((o) => o.start >= 0);
  const lanes = ran.reduce((most, o) => Math.max(most, o.lane + 1), 1);
  const row = lanes > 40 ? 10 : 20, title = 16; // a line above the rows of each engine
  return { ran, lanes, row, title, height: lanes * row + title * (run.engines || []).length + 26 };
}

// emptyTimeline has the size of the timeline.
export const emptyTimeline = (run, width) => s("svg", { width, height: rowsOf(run).height, "aria-hidden": "true" });

// timeline draws a bar for each output that ran, a row for each that ran at once.
export function timeline(run, width, selected, choose) {
  const { ran, lanes, row, title, height } = rowsOf(run), engines = run.engines || [];
  const top = (lane) => lane * row + title * engines.filter((e) => e.first <= lane).length;
  const scale = scaleOf(run, width);
  const svg = s("svg", { class: "timeline", width, height, viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Timeline of ${ran.length} outputs in ${length(run.length)}, at most ${lanes} at once. The table below has the same.` });
  axis(svg, run, width, height, scale);
  for (let i = 0; i < lanes; i += lanes > 40 ? 10 : lanes > 12 ? 4 : 1) svg.append(s("text", { class: "label", x: left - 6, y: top(i) + row * 0.7, "text-anchor": "end" }, i + 1));
  const marks = s("g");
  for (const e of engines) {
    const y = top(e.first) - title;
    if (e.first) svg.append(s("line", { class: "between", x1: 0, x2: width, y1: y, y2: y }));
    svg.append(s("text", { class: "engine", x: left, y: y + 12 }, e.name || "no engine"));
  }
  ran.sort((a, b) => (a.state === "failed") - (b.state === "failed")); // on top, and never too thin to see
  for (const o of ran) {
    const x = scale(o.start), w = Math.max(o.state === "failed" ? 4 : 1.5, scale(o.start + took(o)) - x);
    const critical = run.isCritical.has(o.index);
    const bar = s("g", { class: `bar ${kind(o.state)}${critical ? " critical" : ""}${selected === o ? " selected" : ""}`, "data-index": o.index },
      s("title", null, `${o.ref}: ${o.state}, ${length(took(o))}${critical ? ", on the critical path" : ""}`),
      s("rect", { x, y: top(o.lane) + 2, width: w, height: row - 4, rx: 2 }));
    if (critical) marks.append(s("rect", { class: "mark", x, y: top(o.lane) + row - 5, width: w, height: 3 }));
    const room = Math.floor((w - 8) / 6.6);
    if (row > 12 && room > 3) {
      const text = (glyphs[o.state] || "") + " " + o.ref;
      bar.append(s("text", { x: x + 4, y: top(o.lane) + row * 0.7 }, text.length > room ? text.slice(0, room - 1) + "…" : text));
    }
    svg.append(bar);
  }
  svg.append(marks);
  svg.addEventListener("click", (e) => {
    const bar = e.target.closest(".bar");
    if (bar) choose(run.outputs[bar.getAttribute("data-index")]);
  });
  return svg;
}

// area draws a value over time.
function area(run, width, points, top, name, said) {
  const height = 92, scale = scaleOf(run, width), y = (v) => 8 + (1 - v / (top || 1)) * (height - 34);
  const svg = s("svg", { class: "area", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": name });
  axis(svg, run, width, height, scale);
  let d = `M${scale(0)} ${y(0)}`;
  for (const [t, v] of points) d += `H${scale(t).toFixed(1)}V${y(v).toFixed(1)}`;
  d += `H${scale(run.length).toFixed(1)}V${y(0)}Z`;
  svg.append(s("path", { d }), s("text", { class: "label", x: left - 6, y: 14, "text-anchor": "end" }, said(top)),
    s("text", { class: "label", x: left - 6, y: height - 22, "text-anchor": "end" }, "0"));
  return svg;
}

export function concurrency(run) {
  return steps(run.outputs.filter((o) => o.start >= 0).map((o) => [o.start, o.start + took(o), 1]));
}

export function memory(run) {
  return steps(run.outputs.filter((o) => o.start >= 0 && o.memory > 0).map((o) => [o.start, o.start + took(o), o.memory]));
}

export const peak = (points) => points.reduce((top, p) => Math.max(top, p[1]), 0);

export function concurrencyChart(run, width) {
  const points = concurrency(run), top = peak(points);
  return area(run, width, points, top, `Outputs that ran at once: at most ${top}`, String);
}

export function memoryChart(run, width) {
  const points = memory(run), top = peak(points);
  return area(run, width, points, top, `Known memory of what ran: at most ${bytes(top)}`, bytes);
}

// waits draws what an output waited for once its dependencies were there, and how long it
// then ran, on one line.
export function waits(o, width) {
  const parts = [
    ["downloads", o.waited[1], "w1"], ["another sx", o.waited[2], "w2"], ["a free job", o.waited[3], "w3"],
    ["building", took(o), "w4"],
  ].filter((p) => p[1] > 0);
  const all = parts.reduce((sum, p) => sum + p[1], 0);
  if (!all) return null;
  const svg = s("svg", { class: "waits", width, height: 18, viewBox: `0 0 ${width} 18`, role: "img",
    "aria-label": parts.map((p) => (p[0] === "building" ? "then built for " : "waited for " + p[0] + " ") + length(p[1])).join(", ") });
  let x = 0;
  for (const [name, sec, cls] of parts) {
    const w = (sec / all) * width;
    svg.append(s("rect", { class: cls, x, y: 2, width: Math.max(1, w - 1), height: 14 }, s("title", null, `${name}: ${length(sec)}`)));
    x += w;
  }
  return svg;
}
