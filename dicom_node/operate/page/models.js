// The models that are loaded, what they are asked, and the routes that lead to them.
import { get } from "./api.js";
import { empty, h, number, pill } from "./dom.js";

function model(one) {
  return h("article", { class: "panel" },
    h("div", { class: "panel-head" }, h("h2", {}, one.model), one.device ? pill(one.device, "info") : pill("not used", "quiet")),
    h("dl", { class: "facts-list" },
      ...[["Parameters", one.parameters ? `${(one.parameters / 1e6).toFixed(1)} million` : "–"], ["Precision", one.precision ?? "–"], ["Path", one.path]]
        .flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
      h("dt", {}, "Digest"), h("dd", {}, h("code", { class: "digest" }, one.digest ?? "–"))),
    h("ul", { class: "tasks" }, one.tasks.map((task) => h("li", {}, h("strong", {}, task.task),
      task.labels.length ? h("span", { class: "sub" }, task.labels.length > 8 ? `${task.labels.slice(0, 8).join(", ")} and ${number(task.labels.length - 8)} more` : task.labels.join(", "))
        : h("span", { class: "sub" }, "anomaly map")))));
}

function route(one, place) {
  const criteria = Object.entries(one.match).map(([key, value]) => h("span", { class: "criterion" }, h("span", { class: "sub" }, key.replaceAll("_", " ")), Array.isArray(value) ? value.join(", ") : String(value)));
  return h("tr", {}, h("td", { class: "figure" }, String(place + 1)), h("td", {}, h("strong", {}, one.name), one.shadow ? pill("shadow", "warn") : null),
    h("td", {}, h("div", { class: "criteria" }, criteria.length ? criteria : "every image")),
    h("td", {}, one.tasks.join(", ") || "none"), h("td", {}, one.shadow ? "nothing is sent" : one.send_to.join(", ") || "kept here"),
    h("td", { class: "figure" }, String(one.priority)));
}

export class Models {
  constructor() {
    this.element = h("section", { class: "page", tabindex: "0", "aria-label": "Models and routes" });
  }

  async show() {
    try {
      const [{ models }, { routes }] = await Promise.all([get("/api/models"), get("/api/routes")]);
      this.element.replaceChildren(h("div", { class: "tools" }, h("h1", {}, "Models")),
        models.length ? h("div", { class: "panels" }, models.map(model)) : empty("No model", "This node stores and forwards only."),
        h("div", { class: "tools" }, h("h1", {}, "Routes"), h("p", { class: "sub" }, "In order; the first that matches an image decides.")),
        routes.length ? h("div", { class: "scroll" }, h("table", { class: "list routes" }, h("caption", { class: "hidden-text" }, "Routes in order"),
          h("thead", {}, h("tr", {}, ...["#", "Rule", "Takes", "Tasks", "Results to", "Priority"].map((name) => h("th", { scope: "col" }, name)))),
          h("tbody", {}, routes.map(route)))) : empty("No route", "No image is analysed."));
    } catch (error) {
      this.element.replaceChildren(empty("This cannot be read", error.message));
    }
  }
}
