// What pages do beside being read: theme, search, copying, sending a file, asking in SQL.
// Text of the service gets into the page as text alone (textContent), never as markup.
"use strict";

const $ = (id) => document.getElementById(id);

function element(name, attributes = {}, ...inside) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...inside);
  return made;
}

function text(value) {
  if (value === null || value === undefined) return "–";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

// What went wrong, in the words of a problem document.
async function problemOf(answer) {
  let found = {};
  try { found = await answer.json(); } catch { /* not JSON: the status says it */ }
  if (answer.status === 401 || answer.status === 403) {
    return (found.detail || "not allowed") + ". Sign in with a key that has the scope.";
  }
  const errors = (found.errors || []).slice(0, 10).map((e) =>
    typeof e === "string" ? e : [e.line !== undefined ? `line ${e.line}` : e.at, e.says || e.detail].filter(Boolean).join(": "));
  return [found.detail || `the service answered ${answer.status}`, ...errors].join("\n");
}

function theme() {
  const button = $("theme"), root = document.documentElement;
  const dark = () => root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const name = () => { button.textContent = dark() ? "Light" : "Dark"; button.setAttribute("aria-label", `Use the ${dark() ? "light" : "dark"} theme`); };
  button.hidden = false;
  name();
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    document.cookie = `odp_theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=strict`;
    name();
  });
}

function search() {
  const input = $("find"), rows = [...document.querySelectorAll("tr[data-find]")];
  if (!input) return;
  $("find-box").hidden = false;
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) row.hidden = !words.every((w) => row.dataset.find.toLowerCase().includes(w));
    for (const part of document.querySelectorAll("main section")) {
      if (part.querySelector("tr[data-find]")) part.hidden = !part.querySelector("tr[data-find]:not([hidden])");
    }
    $("found").textContent = words.length ? `${rows.filter((r) => !r.hidden).length} of ${rows.length}` : "";
  });
}

function copying() {
  for (const button of document.querySelectorAll("[data-copy]")) {
    if (!navigator.clipboard) continue;
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText($(button.dataset.copy).textContent);
        button.textContent = "Copied";
      } catch { button.textContent = "Press Ctrl+C"; getSelection().selectAllChildren($(button.dataset.copy)); }
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
  }
}

const TYPES = { ndjson: "application/x-ndjson", jsonl: "application/x-ndjson", json: "application/json",
  csv: "text/csv", parquet: "application/vnd.apache.parquet" };
const STEPS = [["sent", "Sent"], ["queued", "Landed"], ["running", "Running"], ["done", "Written"]];
const ENDS = ["done", "refused", "failed"];

function sending() {
  const form = $("send");
  if (!form) return;
  const dataset = $("dataset"), file = $("file"), button = form.querySelector("button");
  const chosen = () => dataset.selectedOptions[0];
  const about = () => {
    $("about").textContent = `${chosen().dataset.says}. Comes to ${chosen().dataset.table}.`;
    $("cohort-box").hidden = !chosen().dataset.partition;
  };
  dataset.addEventListener("change", about);
  about();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const cohort = $("cohort");
    if (!file.files.length) return say("Choose a file first.", file);
    if (chosen().dataset.partition && !cohort.value.trim()) return say("Name the cohort that the file belongs to.", cohort);
    button.disabled = true;
    try { await send(chosen(), cohort.value.trim(), file.files[0]); }
    catch { say("The service does not answer. Nothing is lost: `make status` tells what runs; then send the file again."); step(null, true); }
    button.disabled = false;
  });
}

function say(words, field) {
  $("progress").hidden = false;
  $("now").textContent = words;
  if (field) field.focus();
}

function step(now, isBad = false) {
  const at = STEPS.findIndex(([name]) => name === now);
  const items = STEPS.map(([name, title], place) => {
    const state = place < at || now === "done" ? "done" : place === at ? "now" : "";
    return element("li", { "data-state": state, ...(place === at ? { "aria-current": "step" } : {}) },
      (state === "done" ? "✓ " : state === "now" ? "● " : "○ ") + title);
  });
  if (isBad) items.push(element("li", { "data-state": "bad" }, "✗ Not written"));
  $("steps").replaceChildren(...items);
}

async function send(option, cohort, file) {
  const [, last, packed] = /\.([a-z]+)(\.gz)?$/i.exec(file.name) || [];
  const type = TYPES[(last || "").toLowerCase()];
  $("outcome").replaceChildren();
  step("sent");
  if (!type) { step("sent", true); return say("The name of the file ends in none of .ndjson, .jsonl, .json, .csv, .parquet (text also with .gz)."); }
  say(`Sending ${file.name}, ${file.size.toLocaleString("en")} bytes …`);
  const query = option.dataset.partition ? `?cohort=${encodeURIComponent(cohort)}` : "";
  const answer = await fetch(`/ingest/${encodeURIComponent(option.value)}${query}`, {
    method: "POST", body: file, headers: { "Content-Type": type, ...(packed ? { "Content-Encoding": "gzip" } : {}) } });
  if (!answer.ok) { step("sent", true); return say(`Not taken: ${await problemOf(answer)}`); }
  const taken = await answer.json();
  await watch(answer.headers.get("Location") || `/ingest/${taken.tracking_id}/status`, option.dataset.table);
}

async function watch(location, table) {
  const place = new URL(location, document.baseURI), begin = Date.now();
  let pause = 500, misses = 0;
  for (;;) {
    let found = null;
    try {
      const answer = await fetch(place.pathname);  // the page's own service, whatever host the address names
      if (answer.ok) { found = await answer.json(); misses = 0; }
      else if (answer.status < 500 && answer.status !== 429) { return say(`Its status cannot be read: ${await problemOf(answer)}`); }
    } catch { /* away for a moment: asked again below */ }
    if (!found && ++misses > 20) return say("The service does not answer any more. The file has landed and is not lost; `make status` tells what runs.");
    if (found) {
      outcome(found, table);
      if (ENDS.includes(found.status)) return ended(found);
      step(found.status);
      const left = found.estimate_seconds ?? found.estimate ?? null;
      say({ queued: "Landed. It waits for a run", running: "A run brings it through the layers" }[found.status]
        + (typeof left === "number" ? `; about ${Math.ceil(left)} s in the past.` : `, for ${Math.round((Date.now() - begin) / 1000)} s.`));
    } else say("The service does not answer; asking again …");
    await new Promise((go) => setTimeout(go, pause));
    pause = Math.min(pause * 1.5, 10000);
  }
}

function ended(found) {
  if (found.status === "done") { step("done"); return say("Done: its rows are in the tables."); }
  step("running", true);
  const why = [found.detail, found.reason, found.says].map((one) => typeof one === "string" ? one : "").find(Boolean);
  say((found.status === "refused" ? "The file was refused" : "The run failed; the next one tries again") + (why ? `: ${why}` : "."));
}

// What each table made of the rows, and why it refused some.
function tablesOf(found) {
  const heads = ["Table", "Written", "Merged", "Refused", "By rule", "State"];
  const count = (n) => element("td", { class: "n" }, typeof n === "number" ? n.toLocaleString("en") : "–");
  const rows = found.tables.map((one) => element("tr", {},
    element("th", { scope: "row" }, element("a", { href: `/tables/${one.table}` }, text(one.table))),
    count(one.written), count(one.merged), count(one.rejected),
    element("td", {}, Object.entries(one.rejects || {}).map(([rule, n]) => `${rule}: ${n}`).join(", ") || "–"),
    element("td", {}, text(one.state))));
  return element("div", { class: "scroll", role: "region", "aria-label": "Tables made of it", tabindex: "0" },
    element("table", { class: "small" }, element("thead", {}, element("tr", {}, ...heads.map((head, at) =>
      element("th", { scope: "col", ...(at > 0 && at < 4 ? { class: "n" } : {}) }, head)))), element("tbody", {}, ...rows)));
}

function outcome(found, table) {
  const { tables, ...rest } = found;
  const parts = Array.isArray(tables) && tables.length ? [tablesOf(found)] : [];
  const rows = [];
  const walk = (value, name) => {
    if (value && typeof value === "object" && !Array.isArray(value)) {
      for (const [key, inner] of Object.entries(value)) walk(inner, name ? `${name} · ${key}` : key);
    } else if (Array.isArray(value) && value.some((one) => one && typeof one === "object")) {
      value.forEach((one, place) => walk(one, `${name} ${place + 1}`));
    } else if (value !== null) {
      rows.push(element("tr", {}, element("th", { scope: "row" }, name.replaceAll("_", " ")),
        element("td", typeof value === "number" ? { class: "n" } : {}, typeof value === "number" ? value.toLocaleString("en") : text(value))));
    }
  };
  walk(parts.length ? rest : found, "");
  const body = element("tbody", {}, ...rows);
  $("outcome").replaceChildren(...parts, element("table", { class: "small" }, element("caption", {}, "What is known of it"), body),
    element("p", {}, element("a", { href: `/tables/${table}` }, `See ${table}`)));
}

function asking() {
  const form = $("query");
  if (!form) return;
  const sql = $("sql"), button = form.querySelector("button");
  $("put").addEventListener("click", () => { sql.setRangeText($("insert").value, sql.selectionStart, sql.selectionEnd, "end"); sql.focus(); });
  sql.addEventListener("keydown", (event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit(); });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.disabled) return;
    button.disabled = true;
    $("asked").textContent = "Asking …";
    $("answer").replaceChildren();
    const begin = performance.now();
    try {
      const answer = await fetch("/sql", { method: "POST", body: JSON.stringify({ sql: sql.value, limit: 1000 }),
        headers: { "Content-Type": "application/json", Accept: "application/json" } });
      if (answer.ok) grid(JSON.parse(await answer.text(), exact), performance.now() - begin);
      else { $("asked").textContent = ""; $("answer").replaceChildren(element("p", { class: "note bad", role: "alert" }, await problemOf(answer))); }
    } catch { $("asked").textContent = "The service does not answer: `make status` tells what runs."; }
    button.disabled = false;
  });
}

// Whole numbers beyond 2^53 are shown as they came, where the browser can tell how they came.
function exact(_, value, context) {
  return Number.isInteger(value) && !Number.isSafeInteger(value) && context && context.source ? context.source : value;
}

// Rows come as objects or as lists; columns as {name, type} or as names.
function grid(found, milliseconds) {
  const rows = found.rows || [];
  const names = (found.columns || Object.keys(rows[0] || {})).map((c) => typeof c === "string" ? c : c.name);
  const cells = rows.map((row) => Array.isArray(row) ? row : names.map((name) => row[name]));
  const withheld = Object.values(found.withheld || {}).flat().join(", ");
  const isNumber = names.map((_, at) => cells.some((row) => typeof row[at] === "number") && cells.every((row) => row[at] === null || typeof row[at] === "number"));
  $("asked").textContent = `${rows.length.toLocaleString("en")} ${rows.length === 1 ? "row" : "rows"}${found.truncated ? ", there are more" : ""}${withheld ? `, without personal data (${withheld})` : ""}, ${Math.round(milliseconds)} ms`;
  const kind = (at, value) => isNumber[at] ? { class: "n" } : value !== undefined && text(value).length > 32 ? { class: "long" } : {};
  const table = element("table", { class: "grid" },
    element("thead", {}, element("tr", {}, ...names.map((name, at) => element("th", { scope: "col", ...kind(at) }, name)))),
    element("tbody", {}, ...cells.map((row) => element("tr", {}, ...row.map((value, at) => element("td", kind(at, value), text(value)))))));
  const label = names.findIndex((_, at) => !isNumber[at]), value = isNumber.indexOf(true);
  const drawn = label >= 0 && value >= 0 && rows.length > 1 ? [bars(cells.slice(0, 40).map((row) => [text(row[label]), row[value] ?? 0]), names[label], names[value])] : [];
  $("answer").replaceChildren(...drawn, element("div", { class: "scroll", role: "region", "aria-label": "Answer", tabindex: "0" }, table));
}

function bars(points, label, value) {
  const space = "http://www.w3.org/2000/svg", width = 640, step = width / Math.max(points.length, 8);
  const made = (name, attributes, words) => {
    const one = document.createElementNS(space, name);
    for (const [key, of] of Object.entries(attributes)) one.setAttribute(key, of);
    if (words !== undefined) one.textContent = words;
    return one;
  };
  const top = Math.max(...points.map(([, n]) => n), 0) || 1, every = Math.ceil(points.length / 6);
  const svg = made("svg", { class: "chart", role: "img", "aria-label": `${value} by ${label}: ${points.length} bars; the figures stand below`, viewBox: `0 0 ${width} 192` });
  svg.append(made("path", { class: "axis", d: `M0 166H${width}` }), made("text", { class: "tick", x: 0, y: 11 }, top.toLocaleString("en")));
  points.forEach(([name, n], at) => {
    const height = 150 * Math.max(n, 0) / top;
    const bar = made("rect", { class: "bar-mark", x: at * step + step * .14, y: 166 - height, width: step * .72, height, rx: 1.5 });
    bar.append(made("title", {}, `${name}: ${n}`));
    svg.append(bar);
    if (at % every === 0) svg.append(made("text", { class: "tick", "text-anchor": "middle", x: at * step + step / 2, y: 183 }, name.slice(0, 14)));
  });
  return element("figure", {}, element("figcaption", {}, `${value} by ${label}`), svg);
}

theme(); search(); copying(); sending(); asking();
