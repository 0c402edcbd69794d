// Questions, which take longer than a slider may: asked when it has come to rest.
const inBytes = (bits) => `${grouped(times({n: 1n, d: 8n}, bits))} B`;

// What is said of an answer where another program may hold at one of these steps of a line.
const unsure = (line, ...steps) => (steps.some((k) => k !== null && elsewhere(line.args(k)))
  ? "; another program may hold there: not verified" : "");

function fitText(line, fit) {
  const steps = [fit.value, fit.next].flatMap((value) => value ?? []).map((value) => value / line.step);
  return fitTold(line, fit) + unsure(line, ...steps);
}

function fitTold(line, fit) {
  const at = (value) => `${line.name} = ${value}`;
  if (fit.none) return `no ${line.name} fits: ${at(fit.next)} takes ${inBytes(fit.nextUsed)}`;
  if (fit.all && fit.value === null) return "fits whatever it is";
  if (fit.all) return `${at(fit.value)} takes ${inBytes(fit.used)}; the domain ends there`;
  return `${at(fit.value)} takes ${inBytes(fit.used)}; ${at(fit.next)} would take ${inBytes(fit.nextUsed)}`;
}

function crossText(line, found) {
  if (!found.becomes) return "the ridge is not crossed once";
  const from = found.value === undefined ? "all along" : `from ${line.name} = ${found.value} on`;
  const steps = [line.last ?? 1n << DOUBLINGS, ...(found.value === undefined ? [] : [found.value / line.step])];
  return `${found.becomes}-bound ${from}${unsure(line, ...steps)}`;
}

// The whole program's crossing, and that of each kind of kernel that computes.
function crossings(line, device) {
  if (now.absent) return [["crossover", `where the bound flips on ${device.name}`, now.absent.why]];
  const loads = loadsAlong(line, now.choice), here = loads(line.first);
  const kinds = [...here.keys()].filter((kind) => kind && here.get(kind).ops.size);
  return ["", ...(kinds.length > 1 ? kinds : [])].map((kind) => {
    const answer = crossText(line, crossover(line, device, now.choice, loads, kind));
    return kind ? [`crossover-${kind}`, `its ${kind} kernels`, answer]
      : ["crossover", `where the bound flips on ${device.name}`, answer];
  });
}

function answers() {
  remember();
  const name = byId("along").value, device = deviceNow();
  if (!now || document.body.classList.contains("stale")) return;
  if (!name) {
    deviceTable(null);
    return;
  }
  const line = lineOf(state.point, name), peak = peaksAlong(line, now.choice), rows = [];
  if (device.capacity) {
    rows.push(["fit", `largest ${name} that fits ${device.name}`, fitText(line, largestFit(line, peak, device.capacity))]);
  }
  rows.push(...crossings(line, device));
  byId("answers").replaceChildren(...rows.map(([key, ask, answer]) => html("div", {class: key.includes("-") ? "kind" : null},
    html("dt", {text: ask}), html("dd", {"data-answer": key, text: answer}))));
  deviceTable(line, peak);
}

// All devices side by side. The largest values that fit come one by one, so that the page goes on answering.
function deviceTable(line, peak) {
  if (!byId("compared").open) return;
  const table = byId("devices"), last = line ? [`largest ${line.name}`] : [];
  const heads = ["device", "time ≥", "time ≤", "predicted", "bound", "capacity", ...last];
  table.tHead.replaceChildren(html("tr", {}, ...heads.map((text) => html("th", {scope: "col", text}))));
  const lines = D.devices.map((device, i) => deviceLine(device, i, line));
  table.tBodies[0].replaceChildren(...lines);
  const mine = later;
  const fill = (i) => {
    if (!line || later !== mine || i >= D.devices.length) return;
    const {capacity} = D.devices[i], fit = capacity && largestFit(line, peak, capacity);
    if (fit) lines[i].lastChild.textContent = fit.none ? "none" : fit.value === null ? "any"
      : fit.value.toString() + (unsure(line, fit.value / line.step) && " ?");
    setTimeout(fill, 0, i + 1);
  };
  fill(0);
}

function deviceLine(device, i, line) {
  const policy = state.policy || policyOf(device), {sizes} = now.program;
  const absent = unpriced(kernelsOf(policy), device, state.dtype, sizes);
  const total = absent ? null : priced(kernelsOf(policy), device, state.dtype, policy, sizes).total;
  const times = total ? [si(total.lower, "s"), si(total.upper, "s"), total.stands ? si(total.predicted, "s") : "–", total.bound]
    : [absent.word, "–", "–", "–"];
  const cells = [...times, device.capacity ? si(device.capacity, "B") : "–", ...(line ? [device.capacity ? "…" : "–"] : [])];
  return html("tr", i === state.device ? {class: "chosen"} : {},
    html("th", {scope: "row", title: device.title, text: device.name}), ...cells.map((text) => html("td", {text})));
}

// The kernels of each device's own policy at this point, once a policy.
const planned = {of: null, kernels: new Map()};
function kernelsOf(policy) {
  if (planned.of !== now) Object.assign(planned, {of: now, kernels: new Map([[now.choice.policy, now.program.kernels]])});
  if (!planned.kernels.has(policy)) {
    planned.kernels.set(policy, kernelsAt(now.program.v, now.program.works, policy, state.dtype));
  }
  return planned.kernels.get(policy);
}
