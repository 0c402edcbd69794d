// Sliders and boxes for the symbols; selects for device, type and policy. The address keeps what was chosen.
const START = new URLSearchParams(location.hash.slice(1));
const STEPS = 1000;

const state = {point: {}, device: D.device, dtype: "", policy: "", donate: false};
for (const [name, value] of Object.entries(D.start)) {
  const asked = START.get(name);
  state.point[name] = BigInt(/^\d{1,18}$/.test(asked ?? "") ? asked : value);
}
if (bind(state.point).error) for (const [name, value] of Object.entries(D.start)) state.point[name] = BigInt(value);
const foundDevice = D.devices.findIndex((d) => d.name === START.get("device"));
if (foundDevice >= 0) state.device = foundDevice;
if (D.types.includes(START.get("dtype"))) state.dtype = START.get("dtype");
if (Object.hasOwn(D.policies, START.get("policy"))) state.policy = START.get("policy");

const deviceNow = () => D.devices[state.device];
const policyOf = (device) => (Object.hasOwn(D.policies, device.policy) ? device.policy : Object.keys(D.policies)[0]);
const policyNow = () => state.policy || policyOf(deviceNow());
const choiceNow = () => ({policy: policyNow(), dtype: state.dtype, donate: state.donate});

function stepOf(variable) {
  const here = bind(state.point);
  return here.error ? 1n : stepsAt(here)[D.domain.variables.indexOf(variable)];
}

// The value next to one at which the domain is not left, where one is near: an axis must divide what it shares.
function inside(name, value, least, most) {
  const holds = (each) => each >= least && each <= most && !bind({...state.point, [name]: each}).error;
  for (let away = 0n; D.mesh.some(([axis]) => axis === name) && away < 512n; away++) {
    const found = [value - away, value + away].find(holds);
    if (found !== undefined) return found;
  }
  return value;
}

// A symbol's slider is logarithmic, from its least to its greatest value, or far enough beyond the start.
function symbolControl(variable, changed) {
  const name = variable.name, start = Number(D.start[name]);
  const low = Math.max(1, variable.lower), high = variable.upper ?? 2 ** Math.ceil(Math.log2(Math.max(16 * start, 1024, 2 * low)));
  const range = html("input", {type: "range", min: 0, max: STEPS, step: 1, "aria-label": `${name}, slider`});
  const box = html("input", {type: "number", min: variable.lower, max: variable.upper, inputmode: "numeric", "aria-label": name});
  const place = (value) => Math.round((STEPS * Math.log(Math.max(1, value) / low)) / Math.log(high / low));
  const show = () => {
    box.value = state.point[name].toString();
    range.value = place(Number(state.point[name]));
    range.setAttribute("aria-valuetext", `${name} = ${box.value}`);
  };
  range.addEventListener("input", () => {
    const step = Number(stepOf(variable));
    const wanted = low * (high / low) ** (range.value / STEPS);
    const least = Math.ceil(low / step) * step, most = Math.floor(high / step) * step;
    const nearest = Math.min(most, Math.max(least, Math.round(wanted / step) * step));
    const value = inside(name, BigInt(nearest), BigInt(least), BigInt(most));
    if (value === state.point[name] && Number(range.value) !== place(Number(value))) return;
    state.point[name] = value;
    box.value = value.toString();
    changed(name);
  });
  // A key moves by the domain's own step where the slider's is too small to move the value.
  range.addEventListener("keydown", (event) => {
    const way = {ArrowRight: 1n, ArrowUp: 1n, ArrowLeft: -1n, ArrowDown: -1n}[event.key];
    if (!way) return;
    event.preventDefault();
    const step = stepOf(variable), to = state.point[name] + way * step;
    if (to < BigInt(low) || (variable.upper !== null && to > BigInt(variable.upper))) return;
    state.point[name] = to;
    show();
    changed(name);
  });
  box.addEventListener("input", () => {
    if (!/^\d{1,18}$/.test(box.value)) return;
    state.point[name] = BigInt(box.value);
    range.value = place(Number(box.value));
    changed(name);
  });
  show();
  const clause = D.domain.text.split(", ").filter((text) => text.split(/[^\w]+/).includes(name)).join(", ");
  return html("div", {class: "symbol", "data-symbol": name},
    html("label", {}, html("b", {text: name}), box), range, html("small", {text: clause}));
}

function options(select, entries, chosen) {
  select.replaceChildren(...entries.map(([value, text]) => html("option", {value, text})));
  select.value = chosen;
}

function fillChoices() {
  const groups = new Map();
  D.devices.forEach((d, i) => {
    if (!groups.has(d.kind)) groups.set(d.kind, []);
    groups.get(d.kind).push(html("option", {value: i, text: d.name, title: d.title}));
  });
  byId("device").replaceChildren(...[...groups].map(([kind, found]) => html("optgroup", {label: kind}, ...found)));
  byId("device").value = state.device;
  const as = `as traced${D.traced.length ? ` (${D.traced.join(", ")})` : ""}`;
  options(byId("dtype"), [["", as], ...D.types.map((name) => [name, name])], state.dtype);
  options(byId("policy"), [["", "the device's policy"], ...Object.keys(D.policies).map((name) => [name, name])], state.policy);
  byId("donated").hidden = !Object.values(D.policies)[0].buffers[1];
}

function remember() {
  const parts = Object.entries(state.point).map(([name, value]) => `${encodeURIComponent(name)}=${value}`);
  parts.push(`device=${encodeURIComponent(deviceNow().name)}`);
  if (state.dtype) parts.push(`dtype=${state.dtype}`);
  if (state.policy) parts.push(`policy=${encodeURIComponent(state.policy)}`);
  try {
    history.replaceState(null, "", `#${parts.join("&")}`);
  } catch { /* a page inside another may not */ }
}
