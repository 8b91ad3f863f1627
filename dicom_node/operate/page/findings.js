// What was found in one image, in the words of the report.
import { h, pill } from "./dom.js";

const kLevels = { certain: "info", doubtful: "warn", negative: "quiet" };

function bar(share, kind) {
  const fill = h("span", { class: `bar-fill ${kind}` });
  fill.style.width = `${Math.round(Math.min(Math.max(share, 0), 1) * 100)}%`;
  return h("span", { class: "bar", "aria-hidden": "true" }, fill);
}

function finding(found) {
  if (found.not_asked) {
    return h("li", { class: "finding" }, h("span", { class: "finding-name" }, found.task), h("span", { class: "sub" }, `not asked: ${found.not_asked}`));
  }
  const share = found.unit === "1";
  const kind = kLevels[found.level] ?? "info";
  return h("li", { class: "finding", title: `${found.model} ${found.model_digest}` },
    h("span", { class: "finding-name" }, found.label ?? found.task, h("span", { class: "sub" }, found.task)),
    share ? bar(found.value, kind) : h("span"),
    h("span", { class: "figure" }, share ? found.shown : `${found.value} ${found.unit ?? ""}`),
    found.level ? pill(found.level, kind) : h("span"));
}

export function findings(image) {
  const frames = image.frames ?? [image];
  const lines = frames.flatMap((frame) => [
    ...(frame.frame ? [h("li", { class: "finding-frame" }, `Frame ${frame.frame}`)] : []),
    ...(frame.findings ?? []).map(finding),
    ...(frame.anomaly ? [h("li", { class: "finding", title: frame.anomaly.model },
      h("span", { class: frame.anomaly.calibrated ? "finding-name" : "finding-name wide" }, "Anomaly score", h("span", { class: "sub" },
        frame.anomaly.calibrated ? `percentile ${frame.anomaly.percentile.toFixed(1)} of normal images` : "uncalibrated; a map, no verdict")),
      frame.anomaly.calibrated ? bar(frame.anomaly.percentile / 100, "info") : null,
      h("span", { class: "figure" }, frame.anomaly.score.toFixed(4)), h("span"))] : []),
  ]);
  return lines.length ? h("ul", { class: "findings" }, lines) : null;
}
