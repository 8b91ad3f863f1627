// One image beside its overlay: a line between them that can be dragged, or moved with the keys.
import { h } from "./dom.js";

export function viewer(pictures, label) {
  const radiograph = h("img", { src: pictures.preview, alt: `Radiograph ${label}`, draggable: false, class: "radiograph" });
  if (!pictures.overlay) {
    const figure = h("figure", { class: "viewer" }, h("div", { class: "stage" }, radiograph));
    radiograph.addEventListener("error", () => unavailable(figure));
    return figure;
  }
  const overlay = h("img", { src: pictures.overlay, alt: `Anomaly map over radiograph ${label}`, draggable: false, class: "overlay" });
  const line = h("div", { class: "divider", "aria-hidden": "true" });
  const stage = h("div", { class: "stage" }, radiograph, overlay, line);
  const slider = h("input", { type: "range", min: "0", max: "100", value: "50", step: "1", class: "slider",
    "aria-label": "Where the overlay begins: all left, it covers the image; all right, it is gone" });
  const buttons = [["Radiograph", 100], ["Compare", 50], ["Overlay", 0]].map(([word, value]) =>
    h("button", { type: "button", class: "chip", "data-value": String(value), onclick: () => move(value) }, word));
  function move(percent) {
    const cut = Math.min(100, Math.max(0, percent));
    slider.value = String(cut);
    stage.style.setProperty("--cut", `${cut}%`);
    for (const button of buttons) {
      const on = Number(button.dataset.value) === Math.round(cut);
      button.classList.toggle("on", on);
      button.setAttribute("aria-pressed", String(on));
    }
  }
  slider.addEventListener("input", () => move(Number(slider.value)));
  const drag = (event) => {
    const box = stage.getBoundingClientRect();
    move(((event.clientX - box.left) / box.width) * 100);
  };
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    drag(event);
  });
  stage.addEventListener("pointermove", (event) => stage.hasPointerCapture(event.pointerId) && drag(event));
  move(50);
  const figure = h("figure", { class: "viewer" }, stage,
    h("figcaption", { class: "viewer-tools" }, slider, h("div", { class: "chips", role: "group", "aria-label": "Show" }, buttons)));
  radiograph.addEventListener("error", () => unavailable(figure));
  return figure;
}

function unavailable(figure) {
  figure.replaceChildren(h("p", { class: "sub" }, "The picture cannot be shown: its original was deleted by retention, or cannot be read."));
}
