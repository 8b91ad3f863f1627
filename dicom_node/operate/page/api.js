// The node's HTTP API, and the token that changes need.

const kTokenKey = "skelex-token";

export const token = {
  get: () => sessionStorage.getItem(kTokenKey) ?? "",
  set: (value) => (value ? sessionStorage.setItem(kTokenKey, value) : sessionStorage.removeItem(kTokenKey)),
};

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

async function ask(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, cache: "no-store" });
  } catch {
    throw new ApiError(0, "The node does not answer. Is it running?");
  }
  return answer(response);
}

export const get = (path, signal) => ask(path, { signal });

export const post = (path) => ask(path, { method: "POST", headers: { Authorization: `Bearer ${token.get()}` } });

// Calls back with what is happening now, and whenever something in the lists has changed.
export function listen({ onNow, onChange, onState }) {
  const source = new EventSource("/api/events");
  source.addEventListener("open", () => onState(true));
  source.addEventListener("error", () => onState(false));  // The browser tries again by itself.
  source.addEventListener("now", (event) => onNow(JSON.parse(event.data)));
  source.addEventListener("change", (event) => {
    onNow(JSON.parse(event.data));
    onChange();
  });
}
