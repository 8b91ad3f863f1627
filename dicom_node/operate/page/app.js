// The page as a whole: which part the address names, what is live, the token, light and dark.
import { get, kSilentAfter, listen, token } from "./api.js";
import { Deliveries } from "./deliveries.js";
import { clock, duration, h, icon } from "./dom.js";
import { Models } from "./models.js";
import { drawNow } from "./now.js";
import { Studies } from "./studies.js";
import { Study } from "./study.js";
import { drawTheme } from "./theme.js";

const $ = (id) => document.getElementById(id);
const main = $("main");

drawTheme($("theme"));

// --- The token. ------------------------------------------------------------------------------------------------------
const dialog = $("token-dialog");
function drawToken() {
  const unlocked = Boolean(token.get());
  $("token").replaceChildren(icon(unlocked ? "unlock" : "lock"));
  $("token").title = unlocked ? "Lock changes" : "Unlock changes";
  $("token").setAttribute("aria-label", $("token").title);
}
function askForToken(problem) {
  $("token-problem").textContent = problem ?? "";
  $("token-problem").hidden = !problem;
  $("token-input").value = "";
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => {
    if (dialog.returnValue === "ok") token.set($("token-input").value.trim());
    $("token-input").value = "";
    drawToken();
    resolve(dialog.returnValue === "ok" && Boolean(token.get()));
  }, { once: true }));
}
$("token-input").addEventListener("keydown", (event) => {  // Enter is "Unlock", not the first button.
  if (event.key !== "Enter") return;
  event.preventDefault();
  dialog.close("ok");
});
// Whether changes may be asked for; asks for the token where there is none, or where `refused` says that it is wrong.
async function unlock(refused) {
  if (refused) {
    token.set("");
    drawToken();
    return askForToken("That token is not this node's.");
  }
  return token.get() ? true : askForToken();
}
$("token").addEventListener("click", () => {
  if (!token.get()) return askForToken();
  token.set("");
  drawToken();
});
drawToken();

// --- Which part of the page the address names. -----------------------------------------------------------------------
const address = (path, query) => `#${path}${query.toString() ? `?${query}` : ""}`;
const studies = new Studies((query) => (location.hash = address(chosen ? `/studies/${chosen}` : "/studies", query)));
const study = new Study({ back: () => (location.hash = address("/studies", studies.query)), unlock });
const deliveries = new Deliveries((query) => (location.hash = address("/deliveries", query)), unlock);
const models = new Models();
const split = h("div", { class: "split" }, studies.element, study.element);
let chosen = "";
let live = [];  // What is to be read again after a change.

function route() {
  const [path, query] = location.hash.slice(1).split("?");
  const parts = path.split("/").filter(Boolean), parameters = new URLSearchParams(query ?? "");
  const part = ["deliveries", "models"].includes(parts[0]) ? parts[0] : "studies";
  for (const link of document.querySelectorAll(".top nav a")) {
    link.hash === `#/${part}` ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current");
  }
  if (part === "studies") {
    chosen = parts[1] ?? "";
    show(split);
    split.classList.toggle("has-study", Boolean(chosen));
    studies.show(parameters, chosen);
    study.show(chosen);
    live = [studies, study];
  } else if (part === "deliveries") {
    show(deliveries.element);
    deliveries.show(parameters);
    live = [deliveries];
  } else {
    show(models.element);
    models.show();
    live = [];
  }
}
function show(element) {
  if (main.firstChild !== element) main.replaceChildren(element);
}
addEventListener("hashchange", route);
document.querySelector(".skip").addEventListener("click", (event) => {  // The address names a part, not a place.
  event.preventDefault();
  main.focus();
});
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.closest("input, textarea, dialog")) return;
  event.preventDefault();
  if (!studies.search.isConnected) location.hash = "#/studies";
  queueMicrotask(() => studies.search.focus());
});
route();

// --- Live. -----------------------------------------------------------------------------------------------------------
let pending = 0;
function reload() {  // At most twice a second, and not for nobody to see.
  if (pending || document.hidden) return;
  pending = setTimeout(() => {
    pending = 0;
    for (const part of live) part.load();
  }, 300);
}

let last = null;         // What the node said last,
let heard = Date.now();  // when,
let lost = null;         // and why no more comes, where that is known.
let seen = heard;        // Since when the page is looked at.
const silent = () => !document.hidden && Date.now() - Math.max(heard, seen) >= kSilentAfter;
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  seen = Date.now();
  reload();
  drawHealth();
});

// [word, its colour, what it means]. The words move on by 15 s, later by minutes: a screen reader says each of them.
function health() {
  const age = Math.floor((Date.now() - heard) / 15000) * 15;
  const shown = last ? ` What is shown is what it said at ${clock(heard)}.` : "";
  if (lost?.status) return ["Not live", "bad", `The node refuses to tell what happens: ${lost.message}.${shown}`];
  if (lost) return ["No connection", "bad", lost.message + shown];
  if (silent()) {
    return [`No news for ${duration(age).replace(/(min) \d+ s$/, "$1")}`, "bad",
      `The node, or the way to it, is stuck: nothing has come from it.${shown}`];
  }
  if (!last || (seen > heard && !document.hidden)) return ["Connecting…", "", ""];
  return last.ready ? ["Ready", "good", ""] : ["Not ready", "bad", `Not ready: ${last.reason}`];
}

function drawHealth() {
  const [word, kind, reason] = health();
  if ($("health").textContent !== word) $("health").textContent = word;
  $("health").className = `health ${kind}`;
  if ($("trouble").textContent !== reason) $("trouble").textContent = reason;
  $("trouble").hidden = !reason;
  $("now").classList.toggle("stale", Boolean(lost) || silent());
  if (!last) return;
  const parked = last.deliveries_parked ? `(${last.deliveries_parked}) ` : "";
  document.title = `${parked}${kind === "bad" ? `${word.toUpperCase()} ` : ""}SKELEX node ${last.title}`;
}
setInterval(drawHealth, 1000);

function onNow(now) {
  if (last && (lost || silent())) reload();
  last = now;
  heard = Date.now();
  lost = null;
  drawHealth();
  $("about").textContent = `${now.title} · version ${now.version}`;
  $("parked-count").textContent = now.deliveries_parked ? String(now.deliveries_parked) : "";
  $("parked-count").hidden = !now.deliveries_parked;
  const focus = document.activeElement?.closest("#now a")?.getAttribute("href");
  $("now").replaceChildren(...drawNow(now));
  if (focus) $("now").querySelector(`a[href="${focus}"]`)?.focus();
}
function onTrouble(error) {
  lost = error;
  drawHealth();
}
listen({ onNow, onChange: reload, onTrouble });
setInterval(() => {
  if (document.hidden) get("/api/now", AbortSignal.timeout(10000)).then(onNow, onTrouble);  // For the title of the tab.
  else if (live.includes(studies)) studies.load();  // "2 min ago" moves on.
}, 30000);
