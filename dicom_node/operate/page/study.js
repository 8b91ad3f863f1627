// One study: its way through the node, its images, what was found, and what became of the results.
import { get, post } from "./api.js";
import { deliveryList } from "./deliveries.js";
import { findings } from "./findings.js";
import { duration, empty, h, icon, pill, shortUid, toast, when } from "./dom.js";
import { statePill } from "./studies.js";
import { viewer } from "./viewer.js";

const latest = (times) => times.filter(Boolean).sort().at(-1) ?? "";

function way(study, instances, deliveries) {
  const analysed = study.waiting ? "" : latest(instances.map((one) => one.predicted_at));
  const wanted = deliveries.filter((one) => one.state !== "given_up");
  const sent = wanted.length && wanted.every((one) => one.state === "delivered") ? latest(wanted.map((one) => one.delivered_at)) : "";
  const steps = [["First image", study.opened_at], ["Last image", study.last_instance_at], ["Analysed", analysed],
    ["Closed", study.closed_at], [study.state === "failed" ? "Failed" : "Reported", study.finished_at]];
  if (deliveries.length) steps.push(["Delivered", sent]);
  let before = "";
  return h("ol", { class: "way" }, steps.map(([name, time]) => {
    const seconds = before && time ? (new Date(time) - new Date(before)) / 1000 : 0;
    if (time) before = time;
    return h("li", { class: time ? "done" : "" }, h("span", { class: "way-name" }, name), time ? when(time) : h("span", { class: "sub" }, "not yet"),
      seconds > 0 ? h("span", { class: "sub" }, `+${duration(seconds)}`) : null);
  }));
}

// Of an image that came again, or was analysed again, the last version.
function newest(instances) {
  const last = new Map();
  for (const one of instances) last.set(one.state === "conflict" ? `${one.sop_instance_uid} conflict` : one.sop_instance_uid, one);
  return [...last.values()];
}

function image(one, study) {
  const uid = one.sop_instance_uid, version = `v=${study.revision}`;
  const frames = one.frames ?? [one];
  const shown = one.state !== "conflict" && !one.purged_at;
  const pictures = !shown ? [] : frames.slice(0, 4).map((frame) => viewer({
    preview: `/api/instances/${uid}/preview.png?frame=${frame.frame ?? 1}&${version}`,
    overlay: frame.anomaly ? `/api/instances/${uid}/overlay.png?frame=${frame.frame ?? 1}&${version}` : "",
  }, frame.frame ? `frame ${frame.frame}` : ""));
  const kind = { analysed: "good", failed: "bad", conflict: "warn", received: "info" }[one.state] ?? "quiet";
  const facts = [[one.rule && `Rule ${one.rule}`], [one.body_part && `${one.body_part}, from ${one.body_part_from}`],
    [one.rendering?.length && `Shown by ${one.rendering.join(", ")}`]].flat().filter(Boolean);
  return h("article", { class: "image" },
    h("div", { class: "image-head" }, pill(one.state, kind), shortUid(uid)),
    one.reason ? h("p", { class: "reason" }, one.reason) : null,
    one.purged_at ? h("p", { class: "sub" }, "The original was deleted by retention: no picture.") : null,
    one.body_part_disagreement ? h("p", { class: "reason warn" }, one.body_part_disagreement) : null,
    pictures.length ? h("div", { class: "pictures" }, pictures) : null,
    frames.length > 4 ? h("p", { class: "sub" }, `${frames.length - 4} more frames are not shown.`) : null,
    h("div", { class: "found" }, findings(one), facts.length ? h("p", { class: "facts" }, facts.join(" · ")) : null));
}

function explanation(found) {
  return found.images.map((one) => h("div", { class: "explanation" },
    h("p", { class: "image-head" }, shortUid(one.sop_instance_uid)),
    one.error ? h("p", { class: "reason" }, one.error) : [
      h("h4", {}, one.body_part ? `Body part ${one.body_part}, from ${one.body_part_from}` : "Body part unknown"),
      h("ul", {}, one.sources.map((source) => h("li", {}, `${source.attribute}: ${source.says}`))),
      h("h4", {}, one.rule ? `Rule ${one.rule} takes it` : `No rule takes it: ${one.reason}`),
      h("ol", {}, one.rules.map((rule) => h("li", { class: rule.matched ? "matched" : "" }, h("strong", {}, rule.rule), rule.matched ? " matches" : `: ${rule.why_not}`))),
      one.rule && one.reason ? h("p", { class: "sub" }, one.reason) : null,
      h("p", { class: "sub" }, [one.tasks.length ? `Tasks ${one.tasks.join(", ")}` : "No tasks", one.send_to.length && `results to ${one.send_to.join(", ")}`,
        one.forward_to.length && `original to ${one.forward_to.join(", ")}${one.forward_after_results ? " after the results" : ""}`, one.shadow && "in shadow: nothing is sent"].filter(Boolean).join("; ")),
    ]));
}

export class Study {
  constructor({ back, unlock }) {
    this.back = back;
    this.unlock = unlock;
    this.element = h("section", { class: "study-pane", "aria-label": "Study" });
    this.uid = null;
  }

  show(uid) {
    if (uid === this.uid) return;
    this.uid = uid;
    this.said = "";
    this.element.replaceChildren(uid ? h("p", { class: "loading" }, "Loading…")
      : empty("No study chosen", "Choose one from the list to see its way through the node, its images and what became of its results."));
    if (uid) this.load();
  }

  async load() {
    const uid = this.uid;
    if (!uid) return;
    let found;
    try {
      found = await get(`/api/studies/${uid}`);
    } catch (error) {
      if (uid === this.uid) this.element.replaceChildren(this.backLink(), empty("This study cannot be shown", error.message));
      return;
    }
    const said = JSON.stringify(found);
    if (uid !== this.uid || said === this.said) return;
    this.said = said;
    this.draw(found);
  }

  backLink() {
    return h("button", { type: "button", class: "back", onclick: this.back }, icon("back"), "All studies");
  }

  draw({ study, instances: all, deliveries }) {
    const instances = newest(all);
    const open = [...this.element.querySelectorAll("details[open]")].map((one) => one.className);
    const top = this.element.scrollTop;
    // Pictures that are the same stay, with the slider where it was put.
    const pictures = new Map([...this.element.querySelectorAll(".viewer")].map((one) => [one.querySelector("img")?.getAttribute("src"), one]));
    const explain = h("details", { class: "explain", ontoggle: (event) => event.target.open && this.explain(event.target) },
      h("summary", {}, "Why this route?"), h("div", { class: "explanations" }, h("p", { class: "loading" }, "Loading…")));
    this.element.replaceChildren(this.backLink(),
      h("header", { class: "study-head" },
        h("div", {}, h("h2", { class: "title" }, study.accession_number || "No accession number"), h("p", { class: "uid" }, h("code", {}, study.study_instance_uid),
          h("button", { type: "button", class: "icon-button small", "aria-label": "Copy the UID", title: "Copy the UID", onclick: () => this.copy(study) }, icon("copy")))),
        h("div", { class: "study-state" }, statePill(study), study.revision > 1 ? h("span", { class: "sub" }, `revision ${study.revision}`) : null,
          h("button", { type: "button", class: "retry", onclick: () => this.retry(study) }, "Analyse again"))),
      study.urgent ? h("p", { class: "reason warn" }, `Urgent: ${study.urgent}`) : "",
      study.reason ? h("p", { class: "reason" }, study.reason) : "",
      way(study, instances, deliveries),
      h("h3", { class: "part" }, instances.length === 1 ? "Image" : `${instances.length} images`),
      h("div", { class: instances.length === 1 ? "images single" : "images" }, instances.map((one) => image(one, study))),
      h("h3", { class: "part" }, "Deliveries"),
      deliveries.length ? deliveryList(deliveries, { unlock: this.unlock, done: () => this.load(), inStudy: true })
        : h("p", { class: "sub" }, "Nothing of this study is to be sent."),
      explain);
    for (const fresh of this.element.querySelectorAll(".viewer")) {
      const old = pictures.get(fresh.querySelector("img")?.getAttribute("src"));
      if (old && Boolean(old.querySelector(".overlay")) === Boolean(fresh.querySelector(".overlay"))) fresh.replaceWith(old);
    }
    if (open.includes("explain")) explain.open = true;
    this.element.scrollTop = top;
  }

  async explain(details) {
    const into = details.querySelector(".explanations");
    try {
      into.replaceChildren(...explanation(await get(`/api/studies/${this.uid}/route`)));
    } catch (error) {
      into.replaceChildren(h("p", { class: "reason" }, error.message));
    }
  }

  async copy(study) {
    try {
      await navigator.clipboard.writeText(study.study_instance_uid);
      toast("The UID is in the clipboard");
    } catch {
      toast("The browser does not let the page copy: mark the UID and copy it", true);
    }
  }

  async retry(study) {
    const question = "Analyse this study again? Its destinations get a new revision of the results, beside those that they have.";
    if (!(await this.unlock()) || !confirm(question)) return;
    try {
      await post(`/api/studies/${study.study_instance_uid}/retry?revision=${study.revision}`);
      toast("The study is analysed again, as a new revision");
      this.load();
    } catch (error) {
      toast(error.message, true);
      if (error.status === 401) this.unlock(error);
    }
  }
}
