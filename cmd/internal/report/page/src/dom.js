// Elements are made here alone. Foreign text becomes text nodes and plain attributes:
// nothing in this page parses markup, and no attribute that can hold code or an address
// is ever set from data.

const SVG = "http://www.w3.org/2000/svg";

const allowed = new Set([
  "class", "id", "role", "for", "type", "value", "name", "placeholder", "list", "title", "tabindex", "scope", "open", "hidden", "disabled",
  "selected", "checked", "autocomplete", "spellcheck", "colspan", "lang",
  "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "r", "rx", "d", "width", "height", "viewBox", "points", "transform", "text-anchor", "fill",
]);

function fill(el, props, kids) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") el.addEventListener(name, value);
    else if (allowed.has(name) || name.startsWith("aria-") || name.startsWith("data-")) el.setAttribute(name, value === true ? "" : String(value));
    else throw new Error("attribute " + name);
  }
  add(el, kids);
  return el;
}

function add(el, kids) {
  for (const kid of kids.flat(Infinity)) {
    if (kid === undefined || kid === null || kid === false || kid === "") continue;
    el.append(kid instanceof Node ? kid : document.createTextNode(String(kid)));
  }
}

// h makes an HTML element.
export function h(tag, props, ...kids) { return fill(document.createElement(tag), props, kids); }

// s makes an SVG element.
export function s(tag, props, ...kids) { return fill(document.createElementNS(SVG, tag), props, kids); }

// put replaces what is in el.
export function put(el, ...kids) {
  el.replaceChildren();
  add(el, kids);
  return el;
}

export const byId = (id) => document.getElementById(id);
