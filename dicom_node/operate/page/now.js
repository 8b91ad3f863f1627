// The strip at the top: what is happening now.
import { bytes, h, number, svg } from "./dom.js";

const sum = (values) => values.reduce((total, value) => total + value, 0);

// The last hour, a bar a minute; the running minute is the last.
function sparkline(values) {
  const width = 120, height = 28, most = Math.max(...values, 1), bar = width / 60;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "spark", "aria-hidden": "true", preserveAspectRatio: "none" });
  values.forEach((value, i) => {
    const tall = value ? Math.max(2, (value / most) * height) : 1;
    drawing.append(svg("rect", { x: width - (values.length - i) * bar, y: height - tall, width: bar * 0.7, height: tall,
      class: value ? "" : "none" }));
  });
  return drawing;
}

function card(label, value, detail, options = {}) {
  const name = options.href ? "a" : "div";
  return h(name, { class: `card ${options.kind ?? ""}`, href: options.href, id: options.id },
    h("span", { class: "card-label" }, label), h("span", { class: "card-value" }, value),
    options.drawing ?? null, h("span", { class: "card-detail" }, detail));
}

export function drawNow(now) {
  const received = sum(now.minutes.received), analysed = sum(now.minutes.analysed), delivered = sum(now.minutes.delivered);
  const down = now.destinations.filter((one) => !one.up).map((one) => one.name);
  const room = now.disk.free_bytes - now.disk.reserve_bytes;
  const devices = now.devices.map((one) => one.device.replace("cpu", "CPU")).join(", ") || "none";
  const models = new Set(now.devices.flatMap((one) => one.models)).size;
  return [
    card("Images in the last hour", number(received), `${number(analysed)} analysed`, { drawing: sparkline(now.minutes.received) }),
    card("Waiting", number(now.waiting), now.inference.in_flight ? `${number(now.inference.in_flight)} being analysed` : "for analysis",
      { kind: now.waiting > 200 ? "warn" : "" }),
    card("Studies open", number(now.studies_open), now.associations_open ? `${now.associations_open} associations open` : "no association open",
      { href: "#/studies?state=open" }),
    card("Deliveries due", number(now.deliveries_pending), down.length ? `${down.join(", ")} does not answer` : `${number(delivered)} in the last hour`,
      { kind: down.length ? "bad" : "", href: "#/deliveries?state=pending" }),
    card("Parked", number(now.deliveries_parked), now.deliveries_parked ? (now.deliveries_parked === 1 ? "waits for a person" : "wait for a person") : "nothing to release",
      { kind: now.deliveries_parked ? "bad" : "", href: "#/deliveries?state=parked", id: "parked-card" }),
    card("Disk", bytes(now.disk.free_bytes), room > 0 ? `free; reserve ${bytes(now.disk.reserve_bytes)}` : "below the reserve: nothing is taken",
      { kind: room <= 0 ? "bad" : room < now.disk.reserve_bytes ? "warn" : "" }),
    card("Device", devices, `${models} ${models === 1 ? "model" : "models"}${now.inference.halved ? `; memory short ${now.inference.halved} times` : ""}`,
      { kind: now.inference.halved ? "warn device" : "device" }),
  ];
}
