// What the page computes of a run: relations, paths, search, a layout of the graph.

export function prepare(run) {
  for (const o of run.outputs) {
    o.run = run;
    o.depends = o.depends || [];
    o.dependents = [];
    o.lower = o.ref.toLowerCase();
  }
  run.outputs.forEach((o, i) => {
    o.index = i;
    for (const d of o.depends) if (run.outputs[d]) run.outputs[d].dependents.push(i);
  });
  run.isCritical = new Set(run.critical);
  run.byRef = new Map(run.outputs.map((o) => [o.ref, o]));
  return run;
}

// took is how long an output ran, also one that still does.
export const took = (o) => (o.start < 0 ? 0 : (o.end >= 0 ? o.end : o.run.length) - o.start);

// search returns the outputs whose name has each word, those that begin with the first word first.
export function search(run, text) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  const found = words.length ? run.outputs.filter((o) => words.every((w) => o.lower.includes(w))) : run.outputs.slice();
  if (words.length) found.sort((a, b) => b.lower.startsWith(words[0]) - a.lower.startsWith(words[0]));
  return found;
}

// reach returns the indices that follow reaches from i, without i.
export function reach(run, i, follow) {
  const seen = new Set([i]);
  const queue = [i];
  for (let at = 0; at < queue.length; at++) {
    for (const next of run.outputs[queue[at]][follow]) {
      if (!seen.has(next)) {
        seen.add(next);
        queue.push(next);
      }
    }
  }
  seen.delete(i);
  return seen;
}

function walk(run, from, to, follow) {
  const came = new Map([[from, -1]]);
  const queue = [from];
  for (let at = 0; at < queue.length && !came.has(to); at++) {
    for (const next of run.outputs[queue[at]][follow]) {
      if (!came.has(next)) {
        came.set(next, queue[at]);
        queue.push(next);
      }
    }
  }
  if (!came.has(to)) return null;
  const path = [];
  for (let i = to; i !== -1; i = came.get(i)) path.push(i);
  return path.reverse();
}

// path is a shortest chain of dependencies between two outputs, whichever needs the other;
// null if neither does.
export function path(run, a, b) {
  return walk(run, a, b, "depends") || walk(run, a, b, "dependents");
}

// layers places each output: a column after those of all its dependencies, and a row near
// theirs. Dependencies that form a cycle, which no sound stream has, end up in column 0.
export function layers(run) {
  const n = run.outputs.length;
  const column = new Array(n).fill(0);
  const needs = run.outputs.map((o) => o.depends.length);
  const queue = [];
  needs.forEach((k, i) => { if (k === 0) queue.push(i); });
  for (let at = 0; at < queue.length; at++) {
    const i = queue[at];
    for (const next of run.outputs[i].dependents) {
      column[next] = Math.max(column[next], column[i] + 1);
      if (--needs[next] === 0) queue.push(next);
    }
  }
  const columns = [];
  for (let i = 0; i < n; i++) (columns[column[i]] = columns[column[i]] || []).push(i);
  const row = new Array(n).fill(0);
  for (let c = 0; c < columns.length; c++) columns[c] = columns[c] || [];
  const settle = (list) => list.forEach((i, k) => { row[i] = k - list.length / 2; });
  columns.forEach(settle);
  for (let sweep = 0; sweep < 4; sweep++) {
    const follow = sweep % 2 ? "dependents" : "depends";
    for (const list of sweep % 2 ? columns.slice().reverse() : columns) {
      const wish = new Map();
      for (const i of list) {
        const near = run.outputs[i][follow];
        wish.set(i, near.length ? near.reduce((sum, k) => sum + row[k], 0) / near.length : row[i]);
      }
      list.sort((a, b) => wish.get(a) - wish.get(b) || a - b);
      settle(list);
    }
  }
  return { column, row, columns: columns.length, rows: Math.max(1, ...columns.map((l) => l.length)) };
}

// steps is how many of some spans are open over time, weighed: [time, value] at each change.
export function steps(spans) {
  const changes = [];
  for (const [from, to, weight] of spans) changes.push([from, weight], [to, -weight]);
  changes.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const out = [[0, 0]];
  let value = 0;
  for (const [at, by] of changes) {
    value += by;
    if (out[out.length - 1][0] === at) out[out.length - 1][1] = value;
    else out.push([at, value]);
  }
  return out;
}

export function median(list) {
  const sorted = list.slice().sort((a, b) => a - b);
  return sorted.length ? sorted[Math.floor(sorted.length / 2)] : 0;
}

// before is how long an output took in earlier runs, 0 if that is not known.
export const before = (o) => median((o.history || []).map((p) => p.seconds)) || (o.guessed ? 0 : o.last || o.expected || 0);

// holdup is the dependency that ended last before o started.
export function holdup(o) {
  let last = null;
  for (const i of o.depends) {
    const d = o.run.outputs[i];
    if (d.start >= 0 && d.end >= 0 && (!last || d.end > last.end)) last = d;
  }
  return last;
}
