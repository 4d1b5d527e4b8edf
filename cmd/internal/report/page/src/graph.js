import { byId, h, put, s } from "./dom.js";
import { count, kind, length } from "./format.js";
import { before, layers, path, reach, took } from "./model.js";
import { link, links } from "./detail.js";

const margin = 24, names = 130; // room for the last column's names
const between = (least, x, most) => Math.max(least, Math.min(most, x));

// Graph draws all outputs of a run: dependencies left of their dependents.
export class Graph {
  constructor(run, choose) {
    this.run = run;
    this.choose = choose;
    this.zoom = 1;
    this.path = null;
    this.colours = "state";
  }

  update(run) {
    this.run = run;
    this.path = null;
    this.place = null;
  }

  at(i) {
    const { column, row, rows } = this.place;
    return [margin + column[i] * this.dx, margin + (row[i] + rows / 2 + 0.5) * this.dy];
  }

  curve(from, to) {
    const [x1, y1] = this.at(from), [x2, y2] = this.at(to), m = (x1 + x2) / 2;
    return `M${x1} ${y1.toFixed(1)}C${m} ${y1.toFixed(1)} ${m} ${y2.toFixed(1)} ${x2} ${y2.toFixed(1)}`;
  }

  // colour is the class of a node.
  colour(o, longest, stages) {
    if (this.colours === "time") {
      const t = took(o) || before(o);
      return "t" + (t <= 0 ? 0 : Math.max(1, Math.min(5, Math.ceil(5 * Math.sqrt(t / longest)))));
    }
    if (this.colours === "stage") return "s" + (stages.indexOf(o.stage) % 7);
    return kind(o.state);
  }

  legend(longest, stages) {
    if (this.colours === "time") {
      return [h("li", null, h("i", { class: "t0" }), "not built, unknown")].concat([1, 2, 3, 4, 5].map((n) =>
        h("li", null, h("i", { class: "t" + n }), "to " + length(longest * (n / 5) ** 2))));
    }
    if (this.colours === "stage") return stages.map((x, i) => h("li", null, h("i", { class: "s" + (i % 7) }), x));
    const states = [...new Set(this.run.outputs.map((o) => o.state))];
    return states.map((x) => h("li", null, h("i", { class: kind(x) }), x));
  }

  draw(width, selected) {
    const run = this.run;
    this.place = this.place || layers(run);
    this.dx = between(14, (width - 2 * margin - names) / Math.max(1, this.place.columns - 1), 130) * this.zoom;
    this.dy = between(9, 420 / this.place.rows, 26) * this.zoom;
    const w = 2 * margin + names + (this.place.columns - 1) * this.dx, hgt = 2 * margin + this.place.rows * this.dy;
    const svg = s("svg", { class: "graph" + (selected || this.path ? " dim" : ""), width: w, height: hgt, viewBox: `0 0 ${w} ${hgt}`, role: "img",
      "aria-label": `Graph of ${count(run.outputs.length, "output")}. Choose one in the list to hear its dependencies and dependents.` });
    let all = "";
    run.outputs.forEach((o, i) => { for (const d of o.depends) all += this.curve(d, i); });
    svg.append(s("path", { class: "edges", d: all }));
    const near = new Map();
    let lit = "";
    if (this.path) {
      this.path.forEach((i, k) => {
        near.set(i, "path");
        if (k) lit += this.curve(...(run.outputs[i].depends.includes(this.path[k - 1]) ? [this.path[k - 1], i] : [i, this.path[k - 1]]));
      });
    } else if (selected) {
      for (const i of reach(run, selected.index, "depends")) near.set(i, "below");
      for (const i of reach(run, selected.index, "dependents")) near.set(i, "above");
      near.set(selected.index, "chosen");
      for (const d of selected.depends) lit += this.curve(d, selected.index);
      for (const d of selected.dependents) lit += this.curve(selected.index, d);
    }
    if (lit) svg.append(s("path", { class: "lit", d: lit }));
    const longest = Math.max(1, ...run.outputs.map((o) => took(o) || before(o)));
    const stages = [...new Set(run.outputs.map((o) => o.stage))];
    const labels = s("g");
    run.outputs.forEach((o, i) => {
      const [x, y] = this.at(i);
      svg.append(s("circle", { class: `node ${this.colour(o, longest, stages)} ${near.get(i) || ""}`, cx: x, cy: y.toFixed(1), r: near.get(i) ? 6 : 4.5, "data-index": i },
        s("title", null, `${o.ref}: ${o.state}`)));
      const named = run.outputs.length <= 40 || near.get(i) === "chosen" || near.get(i) === "path" ||
        (selected && (selected.depends.includes(i) || selected.dependents.includes(i)) && selected.depends.length + selected.dependents.length < 40);
      if (named) labels.append(s("text", { class: "name", x: x + 8, y: (y + 4).toFixed(1) }, o.ref));
    });
    svg.append(labels);
    svg.addEventListener("click", (e) => {
      const node = e.target.closest(".node");
      if (node) this.choose(run.outputs[node.getAttribute("data-index")]);
    });
    put(byId("legend"), this.legend(longest, stages));
    return svg;
  }

  // find shows the path between the outputs that the two fields name.
  find(from, to) {
    const a = this.run.byRef.get(from.trim()), b = this.run.byRef.get(to.trim());
    const missing = !a ? from : !b ? to : null;
    this.path = null;
    if (missing !== null) return put(byId("pathsaid"), missing.trim() ? `This run has no output ${missing.trim()}.` : "Name two outputs.");
    this.path = path(this.run, a.index, b.index);
    if (!this.path) return put(byId("pathsaid"), `Neither of ${a.ref} and ${b.ref} depends on the other.`);
    const down = this.path.length < 2 || this.run.outputs[this.path[0]].depends.includes(this.path[1]);
    return put(byId("pathsaid"), `${down ? a.ref : b.ref} depends on ${down ? b.ref : a.ref}${this.path.length > 2 ? " through " + count(this.path.length - 2, "output") : ""}: `,
      this.path.map((i, k) => [k ? (down ? " → " : " ← ") : "", link(this.run.outputs[i], this.choose)]));
  }

  // relations is the graph in words, for the chosen output.
  relations(o) {
    if (!o) return "Choose an output, here or in any table, to see what it depends on and what depends on it.";
    const below = [...reach(this.run, o.index, "depends")], above = [...reach(this.run, o.index, "dependents")];
    return [h("strong", null, o.ref), ` depends on ${count(o.depends.length, "output")} (${below.length} in all): `, links(this.run, o.depends, this.choose),
      h("br"), `and ${count(o.dependents.length, "output")} (${above.length} in all) ${o.dependents.length === 1 ? "depends" : "depend"} on it: `, links(this.run, o.dependents, this.choose)];
  }
}
