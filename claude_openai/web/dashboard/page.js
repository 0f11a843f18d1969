// Shows what the watch stream reports. All texts are set as textContent, never as HTML.

import { Refused, forget, isLoggedIn, logIn, logOut, post, watch } from "./stream.js";

const MAX_RUNS = 1000;
const RETRY_MS = [500, 1000, 2000, 5000];
const CURRENT = new Set(["queued", "running", "parked"]);

const at = (id) => document.getElementById(id);
const runs = new Map();      // id -> run, as reported
const rows = new Map();      // id -> its element
const changed = new Set();   // ids to draw
let state = {};
const changedState = new Set();
let drawing = false;

const money = (usd) => (usd === null || usd === undefined ? "" : `$${usd.toFixed(usd < 1 ? 4 : 2)}`);
const count = (n) => (n < 10000 ? String(n) : n < 1e6 ? `${(n / 1000).toFixed(0)}k` : `${(n / 1e6).toFixed(1)}M`);
const clock = (time) => new Date(time).toLocaleTimeString();
const day = (time) => new Date(time).toLocaleString([], { weekday: "short", hour: "2-digit", minute: "2-digit" });

function duration(ms) {
  const s = ms / 1000;
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 120) return `${Math.round(s)} s`;
  return s < 7200 ? `${Math.round(s / 60)} min` : `${Math.round(s / 3600)} h`;
}

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  if (text) made.textContent = text;
  if (className) made.className = className;
  return made;
}

function set(parent, selector, text) {
  const found = parent.querySelector(selector);
  if (found.textContent !== text) found.textContent = text;
}

// ---- runs

function drawRun(run) {
  let row = rows.get(run.id);
  if (!row) {
    row = at("run").content.firstElementChild.cloneNode(true);
    row.dataset.id = run.id;
    rows.set(run.id, row);
    set(row, ".id", run.id);
    set(row, ".started", clock(run.started_at));
    row.querySelector(".cancel").setAttribute("aria-label", `Cancel ${run.id}`);
  }
  const { usage, error } = run;
  const wasCurrent = row.parentElement?.id;
  row.className = `run ${run.status}`;
  set(row, ".status", run.status);
  set(row, ".model", run.model);
  set(row, ".client", [run.key, run.client].filter(Boolean).join(" · "));
  set(row, ".route", run.conversation ?? "");
  set(row, ".first", run.ttft_ms === null ? "" : `first ${duration(run.ttft_ms)}`);
  set(row, ".tokens", usage ? `${count(usage.prompt_tokens)} + ${count(usage.completion_tokens)} tokens` : "");
  set(row, ".cost", run.cost_usd ? `${run.estimated_usd ? "~" : ""}${money(run.cost_usd)}` : "");
  set(row, ".text", run.text);
  set(row, ".error", error ? error.message : "");
  row.querySelector(".cancel").hidden = !CURRENT.has(run.status);
  drawTimes(run, row);
  const list = CURRENT.has(run.status) ? "current" : "ended";
  if (wasCurrent !== list) place(at(list), row, run.started_at);
}

function drawTimes(run, row) {
  const soFar = Math.max(0, Date.now() - Date.parse(run.started_at));
  const waited = run.status === "queued" ? soFar : run.waited_ms;
  set(row, ".waited", waited >= 100 ? `waited ${duration(waited)}` : "");
  const took = run.duration_ms ?? (run.status === "running" ? soFar : null);
  set(row, ".took", took === null ? "" : `took ${duration(took)}`);
}

// Keep a list sorted, newest first. New runs are nearly always the newest.
function place(list, row, started) {
  let next = list.firstElementChild;
  while (next && runs.get(next.dataset.id)?.started_at > started) next = next.nextElementSibling;
  list.insertBefore(row, next);
}

function dropOldest() {
  for (let last = at("ended").lastElementChild; rows.size > MAX_RUNS && last; last = at("ended").lastElementChild) {
    runs.delete(last.dataset.id);
    rows.delete(last.dataset.id);
    last.remove();
  }
}

function drawAllRuns() {
  const lists = { current: document.createDocumentFragment(), ended: document.createDocumentFragment() };
  rows.clear();
  for (const run of runs.values()) {   // the snapshot is sorted, so nothing is moved
    const list = CURRENT.has(run.status) ? "current" : "ended";
    drawRun(run);
    lists[list].append(rows.get(run.id));
  }
  for (const list of ["current", "ended"]) at(list).replaceChildren(lists[list]);
}

// ---- state

const drawState = {
  ready: drawReasons,
  refusing: drawReasons,
  problem: drawReasons,
  login: (login) => { at("claude-login").textContent = login ?? "–"; },
  memory_mb: (mb) => { at("memory").textContent = mb === null ? "–" : `${mb} MB`; },
  processes: (all) => {
    const kinds = new Map();
    for (const { kind } of all) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    at("processes").replaceChildren(String(all.length), " ", element("small", [...kinds].map((k) => `${k[1]} ${k[0]}`).join(", ")));
  },
  usage: (today) => {
    at("today").textContent = money(today.cost_usd ?? 0);
    at("models").tBodies[0].replaceChildren(...(today.by_model ?? []).map(modelRow));
    at("cost-note").textContent = today.at_list_price_usd ? "At list price; the plan covers it." : today.cost_usd ? "" : "Nothing yet.";
  },
  limits: (windows) => {
    list("limits", windows.map(windowItem));
    at("no-limits").hidden = windows.length > 0;
  },
  conversations: (all) => {
    list("conversations", all.map(conversationItem));
    at("no-conversations").hidden = all.length > 0;
  },
  errors: (all) => {
    list("errors", all.map(errorItem));
    at("no-errors").hidden = all.length > 0;
  },
};

function drawReasons() {
  const reasons = (state.ready?.reasons ?? []).map(({ message }) => message);
  list("reasons", [...reasons, state.refusing, state.problem].filter(Boolean).map((text) => element("li", text)));
}

function list(id, items) {
  at(id).replaceChildren(...items);
  at(id).hidden = items.length === 0;
}

function modelRow(model) {
  const row = element("tr");
  const name = element("th", model.model);
  name.scope = "row";
  row.append(name, element("td", `${count(model.input_tokens)} + ${count(model.output_tokens)}`), element("td", money(model.cost_usd)));
  return row;
}

function windowItem({ window, utilization, resets_at, status, seen_at }) {
  const item = element("li");
  const share = utilization === null ? "unknown" : `${Math.round(utilization * 100)} %`;
  item.append(element("span", window.replaceAll("_", " ")), element("b", share));
  const bar = element("meter", share, "wide");
  Object.assign(bar, { min: 0, max: 1, low: 0.8, high: 0.95, optimum: 0, value: utilization ?? 0, ariaLabel: `${window}: ${share}` });
  const reset = resets_at && status !== "reset" ? `resets ${day(resets_at * 1000)}, ` : "";
  item.append(bar, element("span", `${reset}seen ${clock(seen_at * 1000)}`, "note wide"));
  return item;
}

function conversationItem({ id, phase, model, messages, since }) {
  const item = element("li");
  const close = element("button", "Close");
  close.type = "button";
  close.dataset.conversation = id;
  close.ariaLabel = `Close the ${phase} conversation of ${model}`;
  item.append(element("b", phase), element("span", model), close);
  item.append(element("span", `${messages} messages, since ${clock(since * 1000)}`, "note wide"));
  return item;
}

function errorItem({ at: seen, run, code, message, hint, count: times }) {
  const item = element("li");
  item.append(element("b", code), element("span", `${clock(seen * 1000)}${times > 1 ? `, ${times} times` : ""}`, "note"));
  item.append(element("span", message, "wide"));
  if (hint) item.append(element("span", hint, "note wide"));
  if (run) item.append(element("code", run, "note"));
  return item;
}

// ---- the stream

function take(name, data) {
  if (name === "snapshot") {
    document.title = "claude-openai";
    at("server").textContent = `${data.server.version}, ${data.server.backend} backend, pid ${data.server.pid}`;
    runs.clear();
    changed.clear();
    state = {};
    for (const run of data.runs) runs.set(run.id, run);
    drawAllRuns();
    connection("live", "live");
  }
  for (const [key, value] of Object.entries(data.state ?? {})) {
    state[key] = value;
    changedState.add(key);
  }
  if (name === "update") {
    for (const run of data.runs) {
      runs.set(run.id, run);
      changed.add(run.id);
    }
  }
  if (!drawing) {
    drawing = true;
    requestAnimationFrame(draw);
  }
}

function draw() {
  drawing = false;
  for (const id of changed) if (runs.has(id)) drawRun(runs.get(id));
  changed.clear();
  dropOldest();
  for (const key of changedState) drawState[key]?.(state[key]);
  changedState.clear();
  const { counts, slots } = state;
  if (!counts) return;
  const of = slots ? ` / ${slots.max_concurrency}` : "";
  at("running").replaceChildren(String(counts.running), element("small", of));
  at("queued").textContent = String(counts.queued);
  at("no-current").hidden = at("current").childElementCount > 0;
  document.title = counts.running ? `(${counts.running}) claude-openai` : "claude-openai";
}

function connection(className, text) {
  at("connection").className = className;
  at("connection").textContent = text;
}

function show(id) {
  for (const each of ["login", "page"]) at(each).hidden = each !== id;
  at("logout").hidden = id !== "page";
}

async function askForLogin(problem) {
  show("login");
  at("login-problem").textContent = problem;
  connection("", "not logged in");
  const needed = await logIn({}).catch(() => "key");
  at("key-form").hidden = needed !== "key";
  at("ticket-help").hidden = needed === "key";
  if (needed === "key") at("key").focus();
}

let following = null;

async function follow() {
  following?.abort();
  const mine = following = new AbortController();
  show("page");
  for (let tries = 0; !mine.signal.aborted; tries += 1) {
    try {
      connection("", "connecting");
      await watch((name, data) => { tries = 0; take(name, data); }, mine.signal);
    } catch (error) {
      if (mine.signal.aborted) return;
      if (error instanceof Refused && error.status === 401) {
        const problem = isLoggedIn() ? "The login has ended." : "";
        forget();
        return askForLogin(problem);
      }
    }
    connection("lost", "not connected; trying again");
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS[Math.min(tries, RETRY_MS.length - 1)]));
  }
}

// ---- what the user does

async function act(button, path) {
  button.disabled = true;
  at("failed").hidden = true;
  try {
    await post(path);
  } catch (error) {
    at("failed").textContent = error.message;
    at("failed").hidden = false;
  } finally {
    button.disabled = false;
  }
}

document.addEventListener("click", ({ target }) => {
  if (!(target instanceof HTMLButtonElement)) return;
  if (target.classList.contains("cancel")) act(target, `/control/runs/${target.closest("li").dataset.id}/cancel`);
  if (target.dataset.conversation) act(target, `/control/conversations/${encodeURIComponent(target.dataset.conversation)}/close`);
});

at("key-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const key = at("key").value;
  at("key").value = "";
  await enter({ key });
});

at("logout").addEventListener("click", async () => {
  following?.abort();
  await logOut().catch(() => {});
  await askForLogin("");
});

setInterval(() => {
  for (const row of at("current").children) drawTimes(runs.get(row.dataset.id), row);
}, 1000);

async function enter(given) {
  try {
    await logIn(given);
  } catch (error) {
    return askForLogin(error.message);
  }
  return follow();
}

const ticket = new URLSearchParams(location.hash.slice(1)).get("ticket");
history.replaceState(null, "", location.pathname);
if (ticket) enter({ ticket });
else if (isLoggedIn()) follow();
else askForLogin("");
