// length says seconds as sx does: "0.4s", "1m32s", "2h0m5s".
export function length(sec) {
  if (!(sec > 0)) return "0s";
  if (sec < 9.95) return +sec.toFixed(1) + "s";
  let n = Math.round(sec);
  const h = Math.floor(n / 3600), m = Math.floor(n / 60) % 60;
  n %= 60;
  return (h ? h + "h" : "") + (h || m ? m + "m" : "") + n + "s";
}

export function bytes(n) {
  if (!(n > 0)) return "0B";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return (n < 10 && i ? n.toFixed(1) : Math.round(n)) + units[i];
}

export function moment(text) {
  const at = new Date(text);
  return isNaN(at) ? String(text) : at.toISOString().slice(0, 19).replace("T", " ") + " UTC";
}

export const count = (n, noun) => n + " " + noun + (n === 1 ? "" : "s");

export const short = (digest) => (digest ? digest.slice(0, 19) + "…" : "");

export const glyphs = {
  built: "✓", failed: "✗", unchanged: "=", reused: "↺", preseeded: "↓", published: "↓", "up to date": "·",
  skipped: "–", "not run": "○", building: "▶", waiting: "…", interrupted: "‖",
};

// kind is the class of a state, always one of a fixed set.
export const kind = (state) => (glyphs[state] ? state.replace(/ /g, "-") : "other");

export const wordKind = (o) => {
  if (!o.word) return "none";
  if (o.word === "MATCH") return o.verdict === "MATCH" ? "match" : "given";
  if (o.word === "MISMATCH") return o.tainted ? "tainted" : "mismatch";
  return "unproven";
};
