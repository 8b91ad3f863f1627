// Elements and words: everything that a peer sent becomes text, never markup.

// h("p", {class: "x", onclick: f}, "text", child, ...)
export function h(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && typeof value !== "string") element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

const kSvg = "http://www.w3.org/2000/svg";

export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS(kSvg, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

const kIcons = {
  lock: "M7 11V8a5 5 0 0 1 10 0v3m-11 0h12a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1H6a1 1 0 0 1-1-1v-7a1 1 0 0 1 1-1z",
  unlock: "M7 11V8a5 5 0 0 1 9.600-2M6 11h12a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1H6a1 1 0 0 1-1-1v-7a1 1 0 0 1 1-1z",
  moon: "M20 14.500A8 8 0 0 1 9.500 4a8 8 0 1 0 10.500 10.500z",
  sun: "M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM12 2v2m0 16v2M2 12h2m16 0h2M5 5l1.400 1.400m11.200 11.200L19 19M5 19l1.400-1.400M17.600 6.400 19 5",
  back: "M15 5l-7 7 7 7",
  copy: "M9 9h10v10H9zM5 15V5h10",
  search: "M11 4a7 7 0 1 1 0 14 7 7 0 0 1 0-14zm5 12 4.500 4.500",
};

export function icon(name) {
  return svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, svg("path", { d: kIcons[name] }));
}

export const number = (value) => new Intl.NumberFormat("en").format(value);

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; value >= 1024 && unit + 1 < units.length; ++unit) value /= 1024;
  return `${value.toFixed(value < 10 && unit > 0 ? 1 : 0)} ${units[unit]}`;
}

const kTime = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const kDay = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });

// "14:03:12", of another day with it.
export function clock(text) {
  const time = new Date(text);
  const words = kTime.format(time);
  return time.toDateString() === new Date().toDateString() ? words : `${kDay.format(time)} ${words}`;
}

export function duration(seconds) {
  if (seconds < 1) return "under 1 s";
  if (seconds < 60) return `${Math.round(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.round((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.round((seconds % 86400) / 3600)} h`;
}

// A time as a person says it; the exact one, in UTC, when pointed at.
export function when(text, relative = false) {
  if (!text) return "–";
  const seconds = (Date.now() - new Date(text)) / 1000;
  const ago = seconds < -5 ? `in ${duration(-seconds).replace(/ \d+ s$/, "")}` : seconds < 5 ? "just now" : seconds < 3600 ? `${duration(seconds).replace(/ \d+ s$/, "")} ago` : clock(text);
  return h("time", { datetime: text, title: text }, relative ? ago : clock(text));
}

// "1.2.840…5.7.31": enough to tell two apart; all of it when pointed at, and for a screen reader.
export function shortUid(uid) {
  if (uid.length <= 24) return h("code", {}, uid);
  return h("code", { title: uid }, h("span", { "aria-hidden": "true" }, `${uid.slice(0, 10)}…${uid.slice(-12)}`),
    h("span", { class: "hidden-text" }, uid));
}

export function pill(word, kind) {
  return h("span", { class: `pill ${kind}` }, word);
}

export function empty(title, text) {
  return h("div", { class: "empty" }, h("strong", {}, title), h("p", {}, text));
}

let toastTimer = 0;
export function toast(text, bad = false) {
  const element = document.getElementById("toast");
  element.textContent = text;
  element.className = `toast shown${bad ? " bad" : ""}`;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => (element.className = "toast"), 6000);
}
