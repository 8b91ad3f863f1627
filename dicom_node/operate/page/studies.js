// The list of studies: filters, search, pages; the study that is chosen lies beside it.
import { list } from "./api.js";
import { empty, h, icon, pill, shortUid, when } from "./dom.js";

const kStates = [["", "All"], ["open", "Open"], ["closed", "Reporting"], ["finished", "Finished"], ["parked", "Parked"],
  ["failed", "Failed"], ["not_routed", "Not routed"], ["conflict", "Conflicts"]];
const kWords = { open: ["Open", "info"], closed: ["Reporting", "info"], finished: ["Finished", "good"],
  not_routed: ["Not routed", "quiet"], failed: ["Failed", "bad"] };
const kPage = 50;

export function statePill(study) {
  if (study.state === "finished" && study.failed > 0) return pill("Finished, in part", "warn");
  const [word, kind] = kWords[study.state] ?? [study.state, "quiet"];
  return pill(word, kind);
}

function images(study) {
  const parts = [`${study.analysed}/${study.instances}`];
  const rest = [[study.waiting, "waiting"], [study.skipped, "skipped"], [study.failed, "failed"], [study.conflicts, "in conflict"]];
  const words = rest.filter(([count]) => count).map(([count, word]) => `${count} ${word}`);
  return [h("span", { class: "figure" }, parts[0]), words.length ? h("span", { class: "sub" }, words.join(", ")) : null];
}

function deliveries(study) {
  if (study.deliveries_parked) return pill(`${study.deliveries_parked} parked`, "bad");
  if (study.deliveries_pending) return pill(`${study.deliveries_pending} due`, "info");
  const givenUp = study.deliveries_given_up ? h("span", { class: "sub" }, `${study.deliveries_given_up} given up`) : null;
  if (study.deliveries_done) return [h("span", { class: "figure" }, `${study.deliveries_done} sent`), givenUp];
  return givenUp ?? h("span", { class: "sub" }, "none");
}

function row(study, chosen, address) {
  const uid = study.study_instance_uid;
  return h("tr", { "data-uid": uid, class: uid === chosen ? "chosen" : "", "aria-current": uid === chosen ? "true" : null },
    h("td", {}, statePill(study), study.urgent ? h("span", { class: "sub urgent", title: study.urgent }, "Urgent") : null),
    h("td", {}, h("a", { href: address(uid), class: "row-link" }, study.accession_number || "No number"),
      h("span", { class: "sub" }, shortUid(uid))),
    h("td", {}, images(study)),
    h("td", {}, deliveries(study)),
    h("td", { class: "time" }, when(study.last_instance_at, true)));
}

// `query`: state and search, as in the address. `open`: shows a study's part, or nothing.
export class Studies {
  constructor(navigate) {
    this.navigate = navigate;
    this.query = new URLSearchParams();
    this.chosen = "";
    this.pages = 1;
    this.body = h("tbody");
    this.notice = h("div", { class: "notice" });
    this.more = h("button", { type: "button", class: "more", hidden: true, onclick: () => (++this.pages, this.load()) }, "Show older studies");
    this.search = h("input", { type: "search", id: "search", placeholder: "Accession number or UID", autocomplete: "off", spellcheck: "false",
      "aria-label": "Search by accession number or UID", oninput: () => this.typed() });
    this.chips = h("div", { class: "chips", role: "group", "aria-label": "State" });
    this.table = h("table", { class: "list" },
      h("caption", { class: "hidden-text" }, "Studies, newest first"),
      h("thead", {}, h("tr", {}, ...["State", "Study", "Analysed", "Deliveries", "Last image"].map((name) => h("th", { scope: "col" }, name)))),
      this.body);
    this.body.addEventListener("click", (event) => {  // The whole row, not its link alone.
      if (event.target.closest("a") || getSelection().toString()) return;
      event.target.closest("tr")?.querySelector("a").click();
    });
    this.element = h("section", { class: "list-pane", "aria-label": "Studies" },
      h("h1", { class: "hidden-text" }, "Studies"),
      h("div", { class: "tools" }, h("div", { class: "search" }, icon("search"), this.search), this.chips),
      h("div", { class: "scroll" }, this.table, this.notice, this.more));
  }

  typed() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      const query = new URLSearchParams(this.query);
      this.search.value.trim() ? query.set("search", this.search.value.trim()) : query.delete("search");
      this.navigate(query);
    }, 200);
  }

  show(query, chosen) {
    const asked = query.toString() !== this.query.toString();
    this.query = query;
    this.chosen = chosen;
    if (asked) this.pages = 1;
    if (document.activeElement !== this.search) this.search.value = query.get("search") ?? "";
    this.chips.replaceChildren(...kStates.map(([state, word]) => {
      const to = new URLSearchParams(query);
      state ? to.set("state", state) : to.delete("state");
      const on = (query.get("state") ?? "") === state;
      return h("button", { type: "button", class: on ? "chip on" : "chip", "aria-pressed": String(on), onclick: () => this.navigate(to) }, word);
    }));
    for (const line of this.body.rows) this.mark(line);
    return this.load();
  }

  mark(line) {
    const on = line.dataset.uid === this.chosen;
    line.classList.toggle("chosen", on);
    on ? line.setAttribute("aria-current", "true") : line.removeAttribute("aria-current");
    line.querySelector("a").href = this.address(line.dataset.uid);
  }

  address(uid) {
    const query = this.query.toString();
    return `#/studies/${uid}${query ? `?${query}` : ""}`;
  }

  async load() {
    this.request?.abort();
    const request = (this.request = new AbortController());
    let found;
    try {
      found = await list("studies", this.query, kPage * this.pages, request.signal);
    } catch (error) {
      if (request.signal.aborted) return;
      this.notice.replaceChildren(empty("The list cannot be read", error.message));
      return;
    }
    if (request.signal.aborted) return;
    this.draw(found.studies);
    this.more.hidden = !found.next;
    const filtered = this.query.has("state") || this.query.has("search");
    this.notice.replaceChildren(found.studies.length ? "" : filtered
      ? empty("No study fits", "Try another state, or fewer letters of the number.")
      : empty("No image has been received yet", "Send one from an X-ray room, or with skelex-modality; it appears here by itself."));
  }

  // Rows stay the elements that they are, so that focus and selection survive; what is new or changed is drawn anew.
  draw(studies) {
    const before = new Map([...this.body.rows].map((line) => [line.dataset.uid, line]));
    const lines = studies.map((study) => {
      const said = JSON.stringify(study), old = before.get(study.study_instance_uid);
      if (old?.said === said) return old;
      const line = row(study, this.chosen, (uid) => this.address(uid));
      line.said = said;
      if (before.size) line.classList.add(old ? "changed" : "fresh");
      if (old?.contains(document.activeElement)) queueMicrotask(() => line.querySelector("a").focus());
      return line;
    });
    for (let i = 0; i < lines.length; ++i) {
      if (this.body.rows[i] !== lines[i]) this.body.insertBefore(lines[i], this.body.rows[i] ?? null);
    }
    while (this.body.rows.length > lines.length) this.body.lastChild.remove();
  }
}
