// The node's HTTP API, and the login that changes need, and elsewhere than on the node's own machine everything.

export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function answer(response) {
  const text = await response.text();
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // An answer in words, of a proxy say.
  }
  if (!response.ok) throw new ApiError(response.status, body?.error ?? (text.trim() || response.statusText));
  return body;
}

const kNoAnswer = "The node does not answer. Is it running?";

async function send(path, options) {
  try {
    return await fetch(path, { ...options, cache: "no-store" });
  } catch {
    throw new ApiError(0, kNoAnswer);
  }
}

const ask = async (path, options) => answer(await send(path, options));

export const get = (path, signal) => ask(path, { signal });

const kPageMax = 1000;  // Of the API.

// The newest `count` of a list, in as many pages as that takes: {[name]: [...], next}; `next` is set where there are older ones.
export async function list(name, query, count, signal) {
  const found = [], asked = new URLSearchParams(query);
  for (;;) {
    asked.set("limit", String(Math.min(count - found.length, kPageMax)));
    const page = await get(`/api/${name}?${asked}`, signal);
    found.push(...page[name]);
    if (!page.next || found.length >= count) return { [name]: found, next: page.next };
    asked.set("before", new URLSearchParams(page.next.split("?")[1]).get("before"));
  }
}

export const post = (path, body) => ask(path, { method: "POST", body });

// {user: "anna", session: true, needed: true}: who is logged in, if anybody, and whether everything needs that.
export const session = () => get("/api/session");
export const logIn = (token) => post("/login", new URLSearchParams({ token }));
export const logOut = () => post("/logout");

// Milliseconds. The node says something every 5 s or so: after this long it is stuck, or the way to it is.
export const kSilentAfter = 15000;
const kWaitMin = 1000, kWaitMax = 30000;  // Before the events are asked for again.

const kEvent = /^event: (\w+)\ndata: (.*)$/;

// The events of a body, as [name, data]; ends with an ApiError.
async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = "";;) {
    const { done, value } = await reader.read().catch(() => ({ done: true }));
    if (done) throw new ApiError(0, kNoAnswer);
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const [, name, data] = kEvent.exec(part) ?? [];
      if (name) yield [name, JSON.parse(data)];
    }
  }
}

// Calls back with what is happening now, and whenever something in the lists has changed; with an ApiError when that has
// ended. It goes on by itself, after a refusal too and where the connection stands and nothing comes. Not an EventSource:
// that tells neither silence nor what a refusal says, and ends for good with the first one. A tab that nobody sees holds no
// connection (a browser has six for one host, all tabs together) and follows again when it is seen.
export function listen({ onNow, onChange, onTrouble }) {
  let attempt, silence, again, wait = kWaitMin;
  function heard() {
    clearTimeout(silence);
    silence = setTimeout(() => attempt.abort(), kSilentAfter);
  }
  async function follow() {
    const { signal } = (attempt = new AbortController());
    heard();
    try {
      const response = await send("/api/events", { signal });
      if (!response.ok) await answer(response);
      for await (const [name, now] of events(response.body)) {
        heard();
        wait = kWaitMin;
        onNow(now);
        if (name === "change") onChange();
      }
    } catch (error) {
      if (!signal.aborted && !(error instanceof ApiError)) throw error;
      if (!signal.aborted) onTrouble(error);
    } finally {
      if (attempt.signal === signal) {  // Else another one follows already.
        clearTimeout(silence);
        attempt.abort();
        if (!document.hidden) again = setTimeout(follow, wait);
        wait = Math.min(2 * wait, kWaitMax);
      }
    }
  }
  document.addEventListener("visibilitychange", () => {
    clearTimeout(again);
    attempt?.abort();
    wait = kWaitMin;
    if (!document.hidden) follow();
  });
  if (!document.hidden) follow();
}
