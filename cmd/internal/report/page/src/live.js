import { byId } from "./dom.js";

// watch asks for the run again every two seconds, and goes on when the server comes back.
export function watch(show) {
  let tag = "", failed = 0;
  const said = byId("live");
  const token = new URLSearchParams(location.search).get("token") || "";
  const next = async () => {
    try {
      const answer = await fetch("data?token=" + encodeURIComponent(token), { headers: tag ? { "If-None-Match": tag } : {}, cache: "no-store" });
      if (answer.status === 200) {
        tag = answer.headers.get("ETag") || "";
        const data = await answer.json();
        if (data.runs.length) show(data.runs[0]);
        said.textContent = data.runs.length ? "live" : "live: no run yet";
        failed = 0;
      } else if (answer.status === 304) {
        said.textContent = "live";
        failed = 0;
      } else throw new Error(answer.status);
    } catch {
      failed++;
      said.textContent = "not connected: trying again";
    }
    setTimeout(next, Math.min(15000, 2000 * (1 + failed)));
  };
  next();
}
