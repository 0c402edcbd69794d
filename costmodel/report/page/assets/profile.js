// Live memory over the schedule: a stack of what it is held for, step by step.
function drawProfile(holder, profile, kernels, device, tell) {
  const width = chartWidth(), height = Math.min(420, Math.max(260, width * 0.38));
  const bytes = (bits) => number(bits) / 8, total = profile.total.map(bytes), most = bytes(profile.most);
  const capacity = device?.capacity, inside = capacity && capacity < most * 1.8 ? capacity : 0;
  const top = Math.max(most, inside, 1) * 1.14, left = 74, right = width - 14, bottom = height - 34;
  const x = (step) => left + (step / total.length) * (right - left), y = (value) => bottom - (value / top) * (bottom - EDGE.top);
  const steps = sampled(total, right - left);
  const box = svg("svg", {viewBox: `0 0 ${width} ${height}`, width, height, tabindex: 0, role: "img",
    "aria-label": `Live memory over ${total.length} steps; arrow keys go from step to step`});
  box.append(...levels(top, y, left, right));
  const below = new Array(total.length).fill(0), kinds = D.held.map((name, i) => [name, profile.split[i].map(bytes)]);
  for (const [i, [, row]] of kinds.entries()) {
    if (!row.some(Boolean)) continue;
    const upper = row.map((value, step) => value + below[step]);
    box.append(svg("path", {class: `held held-${i}`, d: area(steps, upper, below, x, y, total.length)}));
    upper.forEach((value, step) => (below[step] = value));
  }
  box.append(...peakMark(profile, kernels, most, x, y, left, right));
  if (inside) {
    box.append(svg("line", {class: "capacity", x1: left, x2: right, y1: y(inside), y2: y(inside)}),
      svg("text", {class: "roof-name", x: right - 2, y: y(inside) - 6, "text-anchor": "end",
        text: `${device.name} holds ${si(inside, "B")}`}));
  }
  box.append(svg("text", {x: right, y: height - 8, "text-anchor": "end", text: `${total.length} steps of the schedule →`}));
  const cursor = svg("line", {class: "cursor", y1: EDGE.top, y2: bottom, x1: -9, x2: -9});
  box.append(cursor);
  stepping(box, total.length, profile.peak, (step) => {
    cursor.setAttribute("x1", x(step + 0.5));
    cursor.setAttribute("x2", x(step + 0.5));
    const parts = kinds.filter(([, row]) => row[step]).map(([name, row]) => `${name} ${si(row[step], "B")}`);
    const where = kernels[step] ? `${kernels[step].name} (${kernels[step].kind})` : "inputs";
    tell(`step ${step + 1}, ${where}: ${si(total[step], "B")} = ${parts.join(" + ")}`);
  }, (clientX) => {
    const shown = box.getBoundingClientRect(), px = (clientX - shown.left) * (width / shown.width);
    return Math.floor(((px - left) / (right - left)) * total.length);
  });
  const legend = html("ul", {class: "legend"}, ...kinds.flatMap(([name, row], i) => (row.some(Boolean) ? [html("li", {},
    swatch(svg("rect", {class: `held held-${i}`, width: 14, height: 14})), name)] : [])));
  holder.replaceChildren(box, legend);
}

// Of more steps than there are pixels those with most in each pixel's place.
function sampled(total, room) {
  const stride = Math.max(1, Math.ceil(total.length / room)), found = [];
  for (let start = 0; start < total.length; start += stride) {
    let best = start;
    for (let step = start; step < Math.min(start + stride, total.length); step++) if (total[step] > total[best]) best = step;
    found.push([start, Math.min(start + stride, total.length), best]);
  }
  return found;
}

// The outline of one kind: a corner only where the value changes.
function area(steps, upper, below, x, y) {
  const round = (value) => Math.round(value * 10) / 10;
  const edge = (values, order, near, far) => {
    const parts = [];
    let last = null, end = 0;
    for (const step of order) {
      const value = round(y(values[step[2]]));
      if (value !== last) parts.push(last === null ? "" : `H${round(x(step[near]))}V${value}`);
      if (last === null) parts.push(`${round(x(step[near]))},${value}`);
      [last, end] = [value, step[far]];
    }
    return `${parts.join("")}H${round(x(end))}`;
  };
  return `M${edge(upper, steps, 0, 1)}L${edge(below, [...steps].reverse(), 1, 0)}Z`;
}

function levels(top, y, left, right) {
  const rough = top / 4, scale = 10 ** Math.floor(Math.log10(rough)), parts = [];
  const step = [1, 2, 5, 10].find((k) => k * scale >= rough * 0.9999) * scale;
  for (let value = 0; value <= top; value += step) {
    parts.push(svg("line", {class: "grid", x1: left, x2: right, y1: y(value), y2: y(value)}),
      svg("text", {x: left - 7, y: y(value) + 5, "text-anchor": "end", text: value ? `${plain(value)}B` : "0"}));
  }
  return parts;
}

function peakMark(profile, kernels, most, x, y, left, right) {
  const px = x(profile.peak + 0.5), side = px > (left + right) / 2 ? "end" : "start";
  const where = kernels[profile.peak]?.name ?? "", room = Math.floor(((side === "end" ? px - left : right - px) - 20) / 8.2);
  const text = tail(`${where}`, Math.max(8, room - 16));
  return [svg("circle", {class: "peak", cx: px, cy: y(most), r: 4.5}),
    svg("text", {class: "roof-name", x: px + (side === "end" ? -8 : 8), y: y(most) - 7, "text-anchor": side,
      text: `peak ${si(most, "B")}${text ? `, ${text}` : ""}`})];
}

function stepping(box, count, first, show, stepAt) {
  let step = first;
  const go = (to) => {
    step = Math.max(0, Math.min(count - 1, to));
    show(step);
  };
  box.addEventListener("pointermove", (event) => go(stepAt(event.clientX)));
  box.addEventListener("focus", () => go(step));
  box.addEventListener("keydown", (event) => {
    const to = {ArrowRight: step + 1, ArrowLeft: step - 1, Home: 0, End: count - 1, PageDown: step + 10,
      PageUp: step - 10}[event.key];
    if (to === undefined) return;
    event.preventDefault();
    go(to);
  });
}
