// What is due, sent and parked, with the peer's own words; what is parked can be released or given up.
import { list, post } from "./api.js";
import { empty, h, pill, shortUid, toast, when } from "./dom.js";

const kKinds = { pending: "info", delivered: "good", parked: "bad", given_up: "quiet" };
const kNames = { pending: "due", given_up: "given up" };
const kStates = [["", "All"], ["parked", "Parked"], ["pending", "Due"], ["delivered", "Delivered"], ["given_up", "Given up"]];
const kForms = { original: "Original", sc: "Overlay", sr: "Report" };

function words(one) {
  if (!one.text && !one.peer_status) return one.state === "delivered" ? "" : "not tried yet";
  return [one.peer_status && one.peer_status !== "0000" ? `status ${one.peer_status}` : "", one.text].filter(Boolean).join(": ");
}

function line(one, { unlock, done, inStudy }) {
  const change = (word, call, question, told) => {
    const button = h("button", { type: "button", class: call, onclick: async () => {
      if (!(await unlock()) || (question && !confirm(question))) return;
      button.disabled = true;
      try {
        await post(`/api/deliveries/${one.id}/${call}`);
        toast(`Delivery ${one.id} to ${one.destination} ${told}`);
        done();
      } catch (error) {
        button.disabled = false;
        toast(error.message, true);
        if (error.status === 401) unlock(error);
      }
    } }, word);
    return button;
  };
  const release = ["parked", "given_up"].includes(one.state) && change("Release", "release", "", "is sent again");
  const giveUp = one.state === "parked" && change("Give up", "give-up",
    `Give up delivery ${one.id}? ${one.destination} will not get it, and once the study is old enough its files are deleted here.`, "is given up");
  // What whoever is on call asks first; the rest below.
  const [word, time] = one.state === "given_up" ? ["", one.given_up_at] : one.state === "delivered" ? ["", one.delivered_at]
    : one.state === "pending" && one.tried_at ? ["next", one.next_try_at] : one.tried_at ? ["tried", one.tried_at] : ["first due", one.created_at];
  const more = [["tried", one.state === "pending" && one.tried_at], ["released", one.state !== "delivered" && one.released_at],
    ["first due", one.state !== "delivered" && word !== "first due" && one.created_at]];
  const tries = one.attempts ? `, ${one.attempts} ${one.attempts === 1 ? "attempt" : "attempts"}` : "";
  return h("tr", { "data-id": String(one.id) },
    h("td", {}, pill(kNames[one.state] ?? one.state, kKinds[one.state])),
    h("td", {}, h("strong", {}, kForms[one.kind] ?? one.kind.toUpperCase()), " to ", one.destination,
      inStudy ? null : h("a", { class: "sub", href: `#/studies/${one.study_instance_uid}` }, shortUid(one.study_instance_uid))),
    h("td", { class: "words" }, words(one)),
    h("td", { class: "time" }, word && `${word} `, when(time, true),
      more.filter(([, at]) => at).map(([name, at]) => h("span", { class: "sub" }, `${name} `, when(at, true))),
      h("span", { class: "sub" }, `no. ${one.id}${tries}`)),
    h("td", { class: "action" }, release, giveUp));
}

export function deliveryList(deliveries, options) {
  return h("table", { class: "list deliveries" },
    h("caption", { class: "hidden-text" }, "Deliveries, newest first"),
    h("thead", {}, h("tr", {}, ...["State", "What", "The peer's words", "When"].map((name) => h("th", { scope: "col" }, name)),
      h("th", { scope: "col" }, h("span", { class: "hidden-text" }, "Action")))),
    h("tbody", {}, deliveries.map((one) => line(one, options))));
}

export class Deliveries {
  constructor(navigate, unlock) {
    this.navigate = navigate;
    this.unlock = unlock;
    this.element = h("section", { class: "page", tabindex: "0", "aria-label": "Deliveries" });
    this.pages = 1;
  }

  show(query) {
    if (query.toString() !== this.query?.toString()) this.pages = 1;
    this.query = query;
    this.said = "";
    return this.load();
  }

  async load() {
    const chips = h("div", { class: "chips", role: "group", "aria-label": "State" }, kStates.map(([state, word]) => {
      const on = (this.query.get("state") ?? "") === state;
      return h("button", { type: "button", class: on ? "chip on" : "chip", "aria-pressed": String(on),
        onclick: () => this.navigate(new URLSearchParams(state ? { state } : {})) }, word);
    }));
    const head = h("div", { class: "tools" }, h("h1", {}, "Deliveries"), chips);
    let found;
    try {
      found = await list("deliveries", this.query, 50 * this.pages);
    } catch (error) {
      this.element.replaceChildren(head, empty("The list cannot be read", error.message));
      return;
    }
    const said = this.query.toString() + JSON.stringify(found);
    if (said === this.said) return;
    this.said = said;
    const more = h("button", { type: "button", class: "more", hidden: !found.next, onclick: () => (++this.pages, this.load()) }, "Show older ones");
    this.element.replaceChildren(head, found.deliveries.length
      ? deliveryList(found.deliveries, { unlock: this.unlock, done: () => this.load() })
      : empty("None", this.query.get("state") === "parked" ? "Nothing waits for a person." : "Nothing has been sent yet."), more);
  }
}
