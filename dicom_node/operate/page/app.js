// The page as a whole: which part the address names, what is live, the login, light and dark.
import { get, kSilentAfter, listen, logIn, logOut, session } from "./api.js";
import { Deliveries } from "./deliveries.js";
import { clock, duration, h, icon, toast } from "./dom.js";
import { Models } from "./models.js";
import { drawNow } from "./now.js";
import { Studies } from "./studies.js";
import { Study } from "./study.js";
import { drawTheme } from "./theme.js";

const $ = (id) => document.getElementById(id);
const main = $("main");

drawTheme($("theme"));

// --- The login. ------------------------------------------------------------------------------------------------------
const dialog = $("token-dialog");
// Who asks, whether by a login here (else a proxy says who), and whether everything needs that.
let user = "", loggedIn = false, needed = false;
function drawUser() {
  $("token").replaceChildren(icon(user ? "unlock" : "lock"));
  $("token").title = loggedIn ? `Log out ${user}` : user ? `You are ${user}` : "Log in, to change something";
  $("token").disabled = Boolean(user) && !loggedIn;
  $("token").setAttribute("aria-label", $("token").title);
}
async function readSession() {
  const now = await session();
  needed = now.needed;
  user = now.user;
  loggedIn = now.session;
  drawUser();
}
// Where everything needs a login the node answers its page with another one: that of the login.
const toLogin = () => location.reload();

function askForToken(problem) {
  $("token-problem").textContent = problem ?? "";
  $("token-problem").hidden = !problem;
  $("token-input").value = "";
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", async () => {
    const given = $("token-input").value.trim();
    $("token-input").value = "";
    if (dialog.returnValue !== "ok" || !given) return resolve(false);
    try {
      await logIn(given);
      await readSession();
      resolve(Boolean(user));
    } catch (error) {
      resolve(askForToken(error.message));
    }
  }, { once: true }));
}
$("token-input").addEventListener("keydown", (event) => {  // Enter is "Log in", not the first button.
  if (event.key !== "Enter") return;
  event.preventDefault();
  dialog.close("ok");
});
// Whether changes may be asked for; asks for a login where there is none, or where `refused` says that it has ended.
async function unlock(refused) {
  await known;
  if (refused && needed) return toLogin();
  if (refused) {
    user = "";
    loggedIn = false;
    drawUser();
    return askForToken("The login has ended.");
  }
  return user ? true : askForToken();
}
$("token").addEventListener("click", async () => {
  if (!user) return askForToken();
  try {
    await logOut();
    await readSession();
    if (needed) toLogin();
  } catch (error) {
    toast(error.message, true);
  }
});
drawUser();
const known = readSession().catch(() => {});  // Whatever is wrong is said by what follows.
if (location.href.split("#")[0].endsWith("?")) history.replaceState(null, "", location.pathname + location.hash);

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
  if (error.status === 401 && user && needed) return toLogin();
  lost = error;
  drawHealth();
}
listen({ onNow, onChange: reload, onTrouble });
setInterval(() => {
  if (document.hidden) get("/api/now", AbortSignal.timeout(10000)).then(onNow, onTrouble);  // For the title of the tab.
  else if (live.includes(studies)) studies.load();  // "2 min ago" moves on.
}, 30000);
