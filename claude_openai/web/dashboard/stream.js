// Requests to the control routes: with the cookie, which scripts cannot read, and the token, which other pages cannot.

const KEPT = "claude-openai-token";
let token = "";
try { token = localStorage.getItem(KEPT) ?? ""; } catch { /* storage is off: the login lasts as long as the page */ }

export const isLoggedIn = () => token !== "";

export function forget() { keep(""); }

function keep(value) {
  token = value;
  try { value ? localStorage.setItem(KEPT, value) : localStorage.removeItem(KEPT); } catch { /* as above */ }
}

export class Refused extends Error {
  constructor(status, message) { super(message); this.status = status; }
}

async function request(path, options = {}) {
  const response = await fetch(path, {
    ...options, credentials: "same-origin", cache: "no-store", redirect: "error",
    headers: { ...options.headers, ...(token ? { "x-claude-openai-page": token } : {}) },
  });
  if (!response.ok) {
    const body = await response.json().catch(() => null);
    throw new Refused(response.status, body?.error?.message ?? `HTTP status ${response.status}`);
  }
  return response;
}

export async function post(path, body = {}) {
  const headers = { "content-type": "application/json" };
  return (await request(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

// Log in with {key} or {ticket}; with {} only ask which of the two is needed.
export async function logIn(given) {
  const answer = await post("/dashboard/login", given);
  if (answer.token) keep(answer.token);
  return answer.login;
}

export async function logOut() {
  try { await post("/control/logout"); } finally { keep(""); }
}

// Call take(name, data) for each event, until the stream ends.
export async function watch(take, signal) {
  const response = await request("/control/watch", { signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const event = /^event: (\w+)\ndata: (.*)$/.exec(block);
      if (event) take(event[1], JSON.parse(event[2]));
    }
  }
}
