// One radiograph is dropped, its findings are shown; nothing is kept.
import { findings } from "./findings.js";
import { empty, h } from "./dom.js";
import { drawTheme } from "./theme.js";
import { viewer } from "./viewer.js";

const $ = (id) => document.getElementById(id);
const kBytesMax = 32 * 2 ** 20;
const result = $("result"), drop = $("drop"), file = $("file");
let asked = 0;

drawTheme($("theme"));

function refuse(text) {
  result.replaceChildren(empty("This file cannot be analysed", text));
}

async function analyse(one) {
  if (!one) return;
  if (one.size > kBytesMax) return refuse("It is larger than 32 MiB.");
  const mine = ++asked;
  result.replaceChildren(h("p", { class: "loading" }, `Analysing ${one.name}…`));
  drop.classList.add("busy");
  try {
    const answer = await fetch(`/api/try?body_part=${encodeURIComponent($("body-part").value.trim().toUpperCase())}`,
      { method: "POST", body: one, headers: { "Content-Type": "application/octet-stream" } });
    const found = await answer.json();
    if (mine !== asked) return;
    if (!answer.ok) return refuse(found.error);
    result.replaceChildren(h("h2", { class: "part" }, one.name), h("div", { class: "images single" }, h("article", { class: "image" },
      h("div", { class: "pictures" }, viewer({ preview: found.preview, overlay: found.overlay }, one.name)),
      h("div", { class: "found" }, found.note ? h("p", { class: "reason" }, found.note) : null, findings(found.image),
        h("p", { class: "facts" }, [found.image.body_part ? `${found.image.body_part}, from ${found.image.body_part_from}` : "Body part not known",
          found.image.rendering?.length && `shown by ${found.image.rendering.join(", ")}`].filter(Boolean).join(" · "))))));
  } catch {
    if (mine === asked) refuse("The node does not answer, or not in words that this page understands.");
  } finally {
    if (mine === asked) drop.classList.remove("busy");
  }
}

file.addEventListener("change", () => analyse(file.files[0]));
for (const name of ["dragenter", "dragover"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => event.relatedTarget || drop.classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  analyse(event.dataTransfer.files[0]);
});
$("form").addEventListener("submit", (event) => event.preventDefault());
