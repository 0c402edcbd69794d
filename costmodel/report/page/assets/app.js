// The page: what is chosen is computed, and shown.
const tree = treeOf();
tree.root.children.length === 1 && (tree.root.children[0].open = true);
let now = null;

function card(key, label, value, unit, exact) {
  return html("div", {class: "card", "data-metric": key}, html("span", {class: "label", text: label}), html("span", {class: "big", text: typeof value === "string" ? value : si(number(value), unit)}),
    html("span", {class: "exact", "data-exact": exact === undefined ? null : isWhole(exact) ? exact : number(exact), text: exact === undefined ? "" : `${grouped(exact)} ${unit === "" ? "" : unit}`}));
}

function showHeadline(head, total, device, absent) {
  const cards = [["params", "parameters", head.params, ""], ["model_size", "model size", head.model_size, "B"], ["macs", "MACs, dense taps", head.macs, "MAC"], ["flops", "FLOPs", head.flops, "FLOP"],
    ...(head.ops ? [["ops", "operations on integers", head.ops, "OP"]] : []), ["transcendentals", "transcendentals", head.transcendentals, ""],
    ["compulsory", "bytes, compulsory", head.compulsory, "B"], ["bytes", `bytes, ${policyNow()}`, head.bytes, "B"], ["activations", "activations, total", head.activations, ""],
    ["activations_peak", "activations, peak", head.activations_peak, ""], ["live_peak", `live peak, ${policyNow()}`, head.live_peak, "B"]]
    .map(([key, label, value, unit]) => card(key, label, value, unit, value));
  const batch = D.batch.map((name) => state.point[name]).find((value) => value !== undefined) ?? 1n;
  const timed = total ? [timeCard("time", `time on ${device.name}`, `${si(total.lower, "s")} to ${si(total.upper, "s")}`, [total.lower, total.upper]),
    timeCard("throughput", "throughput", `${si(Number(batch) / total.upper, "/s")} to ${si(Number(batch) / total.lower, "/s")}`, []),
    timeCard("intensity", `intensity, ${total.bound}-bound`, `${three(total.intensity)} OP/B`, [total.intensity])]
    : [timeCard("time", `time on ${device.name}`, "no peak", [], `${device.name} has no peak for ${absent.join(", ")}: choose another type`)];
  byId("headline").replaceChildren(...timed, ...cards);
}
const timeCard = (key, label, text, values, note = "") => html("div", {class: `card time${note ? " wide" : ""}`, "data-metric": key, "data-values": values.join(" ")}, html("span", {class: "label", text: label}), html("span", {class: "big", text}), html("span", {class: "exact", text: note}));

function showRoofline(found) {
  const {rows, total, absent} = found, device = deviceNow(), say = byId("roofline-say");
  byId("roofline-told").textContent = "";
  if (!rows) {
    byId("roofline").replaceChildren();
    byId("roofline-names").replaceChildren();
    say.textContent = `${device.name} has no peak for ${absent.join(", ")}.`;
    return;
  }
  const marks = drawRoofline(byId("roofline"), rows, device, state.dtype, total.lower, (text) => (byId("roofline-told").textContent = text));
  const shapes = [["memory", "memory-bound"], ["compute", "compute-bound"]].map(([kind, text]) => html("span", {class: "key"}, svg("svg", {class: "swatch", width: 14, height: 14, "aria-hidden": "true"},
    svg("g", {class: `point ${kind}`}, kind === "memory" ? svg("circle", {cx: 7, cy: 7, r: 6}) : svg("rect", {x: 1, y: 1, width: 12, height: 12}))), text));
  say.replaceChildren(`${device.title}: kernels of ${policyNow()}, larger where they take longer. `, ...shapes);
  byId("roofline-names").replaceChildren(...marks.map((mark) => html("li", {}, html("span", {class: "name", title: mark.rows.map((row) => row.name).join(", "), text: mark.name}), html("span", {class: "value", text: percent(mark.share)}))));
}

function showTime({rows, total}) {
  if (!rows) {
    byId("time").replaceChildren();
    byId("time-say").textContent = "";
    return;
  }
  const device = deviceNow(), warm = device.levels.length ? ` If what fits into ${device.levels.map(([name]) => name).join(" or ")} is found there: ${si(total.warm, "s")}.` : "";
  byId("time-say").textContent = `Solid: at least, ${si(total.lower, "s")} in all. Outline: at most, ${si(total.upper, "s")}, where nothing overlaps.${warm}`;
  drawTime(byId("time"), rows, byId("time-by").value);
}

function showMemory(program, head) {
  const device = deviceNow(), capacity = device.capacity?.[0], peak = number(head.live_peak);
  const verdict = !capacity ? `${device.name} states no capacity.` : peak <= capacity ? `It fits ${device.name} (${si(capacity, "B")}), ${percent(peak / capacity)} of it.` : `It does not fit ${device.name} (${si(capacity, "B")}): ${three(peak / capacity)} times too much.`;
  byId("memory-say").textContent = `Live bytes in program order, policy ${policyNow()}. ${verdict}`;
  byId("memory-told").textContent = "";
  drawProfile(byId("memory"), program.profile, program.kernels, device, (text) => (byId("memory-told").textContent = text));
}

function compute(args) {
  const choice = choiceNow(), device = deviceNow(), program = programAt(args, choice), absent = missing(program.kernels, device, state.dtype);
  const rows = absent.length ? null : priced(program.kernels, device, state.dtype);
  return {args, choice, program, absent, rows, total: rows && whole(rows), head: headlineAt(args, program, choice)};
}

function update() {
  const began = performance.now(), found = bind(state.point), trouble = byId("trouble");
  document.body.classList.toggle("stale", Boolean(found.error));
  trouble.textContent = found.error ? `${found.error}. The domain is ${D.domain.text || "constant"}.` : unsettled(found.args)
    ? "At this point jax may trace another program than the one of these formulas: cost.at(…) looks, this file cannot." : "";
  if (found.error) return;
  now = compute(found.args);
  showHeadline(now.head, now.total, deviceNow(), now.absent);
  showRoofline(now);
  showTime(now);
  showMemory(now.program, now.head);
  fillTree(tree, now.program, now.rows, state.dtype, now.total?.lower);
  drawTree(byId("modules"), tree);
  document.documentElement.dataset.ms = (performance.now() - began).toFixed(1);
  clearTimeout(later);
  later = setTimeout(answers, 150);
}
let later = 0, waiting = false;

// Several events of a moving slider are one update.
function soon() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    update();
  });
}

// -- questions, which take longer than a slider may: asked when it has come to rest ---------------------------------------------

const inBytes = (bits) => `${grouped(times({n: 1n, d: 8n}, bits))} B`;
function fitText(line, fit) {
  const at = (value) => `${line.name} = ${value}`;
  if (fit.none) return `no ${line.name} fits: ${at(fit.next)} takes ${inBytes(fit.nextUsed)}`;
  if (fit.all) return fit.value === null ? "fits whatever it is" : `${at(fit.value)}, where the domain ends, takes ${inBytes(fit.used)}`;
  return `${at(fit.value)} takes ${inBytes(fit.used)}; ${at(fit.next)} would take ${inBytes(fit.nextUsed)}`;
}

function crossText(line, device) {
  if (missing(now.program.kernels, device, state.dtype).length) return "no peak for this type";
  const found = crossover(line, device, now.choice);
  if (found.unknown) return "the ridge is not crossed once";
  return found.from ? `${found.becomes}-bound all along` : `${found.becomes}-bound from ${line.name} = ${found.value} on`;
}

function answers() {
  remember();
  const name = byId("along").value, device = deviceNow();
  if (!name || !now) return deviceTable(null);
  const line = lineOf(state.point, name), peak = peaksAlong(line, now.choice), rows = [];
  if (device.capacity) rows.push([`largest ${name} that fits ${device.name}`, fitText(line, largestFit(line, peak, device.capacity[0])), "fit"]);
  rows.push([`where the bound flips on ${device.name}`, crossText(line, device), "crossover"]);
  byId("answers").replaceChildren(...rows.flatMap(([ask, answer, key]) => [html("dt", {text: ask}), html("dd", {"data-answer": key, text: answer})]));
  deviceTable(line, peak);
}

function deviceTable(line, peak) {
  if (!byId("compared").open) return;
  const table = byId("devices"), heads = ["device", "time ≥", "time ≤", "bound", "capacity", ...(line ? [`largest ${line.name}`] : [])];
  table.tHead.replaceChildren(html("tr", {}, ...heads.map((text) => html("th", {scope: "col", text}))));
  const mine = later;
  const lines = D.devices.map((device, i) => {
    const can = !missing(now.program.kernels, device, state.dtype).length;
    const policy = state.policy || device.policy, total = can && whole(priced(kernelsOf(policy), device, state.dtype));
    return html("tr", i === state.device ? {class: "chosen"} : {}, html("th", {scope: "row", title: device.title, text: device.name}), html("td", {text: can ? si(total.lower, "s") : "no peak"}), html("td", {text: can ? si(total.upper, "s") : "–"}),
      html("td", {text: can ? total.bound : "–"}), html("td", {text: device.capacity ? si(device.capacity[0], "B") : "–"}), ...(line ? [html("td", {text: device.capacity ? "…" : "–"})] : []));
  });
  table.tBodies[0].replaceChildren(...lines);
  const fill = (i) => {
    if (!line || later !== mine || i >= D.devices.length) return;
    const device = D.devices[i];
    if (device.capacity) {
      const fit = largestFit(line, peak, device.capacity[0]);
      lines[i].lastChild.textContent = fit.none ? "none" : fit.value === null ? "any" : fit.value.toString();
    }
    setTimeout(fill, 0, i + 1);
  };
  fill(0);
}
const planned = new Map();
function kernelsOf(policy) {
  if (planned.get("of") !== now) {
    planned.clear();
    planned.set("of", now);
  }
  if (!planned.has(policy)) planned.set(policy, policy === now.choice.policy ? now.program.kernels : kernelsAt(now.program.v, now.program.works, policy, state.dtype));
  return planned.get(policy);
}

// -- setting up ---------------------------------------------------------------------------------------------------------------

byId("name").textContent = D.name;
byId("domain").textContent = D.domain.text ? `closed forms for ${D.domain.text}` : "fixed shapes";
const controls = [...D.domain.variables].sort((a, b) => (a.name < b.name ? -1 : 1)).map((v) => symbolControl(v, soon));
byId("symbols").append(...controls);
fillChoices();
const free = D.domain.variables.map((v) => v.name);
options(byId("along"), free.map((name) => [name, name]), D.batch.find((name) => free.includes(name)) ?? free[0]);
byId("solve-section").classList.toggle("fixed", !free.length);
for (const [id, key] of [["device", "device"], ["dtype", "dtype"], ["policy", "policy"]]) {
  byId(id).addEventListener("change", (event) => {
    state[key] = key === "device" ? Number(event.target.value) : event.target.value;
    soon();
  });
}
byId("donate").addEventListener("change", (event) => {
  state.donate = event.target.checked;
  soon();
});
byId("controls").addEventListener("submit", (event) => event.preventDefault());
byId("time-by").addEventListener("change", () => showTime(now));
byId("along").addEventListener("change", answers);
byId("compared").open = D.devices.length > 1 && D.devices.length <= 8;
byId("compared").addEventListener("toggle", answers);
pressing(byId("modules"), tree, () => drawTree(byId("modules"), tree));
for (const [id, open] of [["open-all", true], ["close-all", false]]) {
  byId(id).addEventListener("click", () => {
    D.modules.forEach((path) => (tree.node(path).open = open));
    for (const path of D.modules) for (let at = tree.node(path).parent; at !== tree.root; at = at.parent) at.open = open;
    drawTree(byId("modules"), tree);
  });
}
byId("formulas").append(...D.formulas.map(([label, unit, text]) => html("div", {class: "formula"}, html("span", {class: "label", text: `${label} [${unit}]`}), html("div", {class: "scroll"}, math(text)))));
byId("notes").append(...D.notes.map((text) => html("p", {text})), html("p", {text: "Time: at least max(compute, memory) a kernel, at most their sum; 2 operations a multiply-accumulate; padding taps are not computed. Bytes cross the borders of the policy's kernels."}));
let drawnAt = window.innerWidth;
addEventListener("resize", () => {
  if (window.innerWidth !== drawnAt) soon();
  drawnAt = window.innerWidth;
});
addEventListener("beforeprint", () => {
  for (const child of tree.root.children) child.open = true;
  drawTree(byId("modules"), tree);
});
update();
