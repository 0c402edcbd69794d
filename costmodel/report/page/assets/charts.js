// The log-log roofline as SVG, drawn at the width that there is so that its letters keep their size.
const EDGE = {left: 62, right: 18, top: 22, bottom: 46};
const NUMBERED = 10;

// The width of every chart: asking the browser anew in the middle of an update would make it lay out the page.
const drawn = {window: 0, width: 0};
function chartWidth() {
  if (drawn.window !== window.innerWidth) {
    Object.assign(drawn, {window: window.innerWidth, width: Math.max(300, byId("roofline").clientWidth)});
  }
  return drawn.width;
}

function decades(values, below, above) {
  const logs = values.filter((x) => x > 0 && Number.isFinite(x)).map(Math.log10);
  return [Math.min(...logs) - below, Math.max(...logs) + above];
}

// (label, operations a second) of the units that the kernels keep busy, highest first.
function roofs(rows, device, wanted) {
  const found = new Map();
  for (const row of rows) {
    for (const kind of row.kinds.keys()) {
      const [name, engine, dtype] = D.kinds[kind], seconds = device.seconds[wanted][kind];
      if (!["matrix", "vector"].includes(engine) || !seconds) continue;
      const unit = device.oneUnit ? "compute" : engine, label = `${unit} ${typed(D.dtypes[dtype], wanted)}`;
      found.set(label, Math.max(found.get(label) ?? 0, (name === "mac" ? 2 : 1) / seconds));
    }
  }
  return [...found].sort((a, b) => b[1] - a[1]);
}

// Kernels that stand in one place as one mark, those that take longest first.
function marksOf(rows, total) {
  const marks = new Map();
  for (const row of rows) {
    if (!row.lowerAll || !row.operations || !row.bytes) continue;
    const place = [Math.round(Math.log10(row.intensity) * 60), Math.round(Math.log10(row.attainable) * 60)].join();
    if (!marks.has(place)) marks.set(place, {x: row.intensity, y: row.attainable, rows: [], share: 0});
    const mark = marks.get(place);
    mark.rows.push(row);
    mark.share += row.lowerAll / total;
  }
  for (const mark of marks.values()) {
    mark.rows.sort((a, b) => b.lowerAll - a.lowerAll);
    mark.memory = mark.rows[0].bound === "memory";
    mark.name = mark.rows[0].name + (mark.rows.length > 1 ? ` and ${mark.rows.length - 1} more` : "");
  }
  return [...marks.values()].sort((a, b) => b.share - a.share);
}

function drawRoofline(holder, rows, device, wanted, total, tell) {
  const marks = marksOf(rows, total), peaks = roofs(rows, device, wanted), speed = device.bandwidth;
  holder.replaceChildren();
  if (!marks.length || !peaks.length) return [];
  const width = chartWidth(), height = Math.min(540, Math.max(320, width * 0.56));
  const [x0, x1] = decades([...marks.map((m) => m.x), peaks[0][1] / speed], 0.35, 0.6);
  const [y0, y1] = decades([...marks.map((m) => m.y), peaks[0][1]], 0.3, 0.5);
  const x = (value) => EDGE.left + ((Math.log10(value) - x0) / (x1 - x0)) * (width - EDGE.left - EDGE.right);
  const y = (value) => height - EDGE.bottom - ((Math.log10(value) - y0) / (y1 - y0)) * (height - EDGE.top - EDGE.bottom);
  const box = svg("svg", {viewBox: `0 0 ${width} ${height}`, width, height, role: "group",
    "aria-label": `Roofline on ${device.title}: arrow keys go from point to point`});
  const from = [x(10 ** x0), y(speed * 10 ** x0)], ridge = [x(peaks[0][1] / speed), y(peaks[0][1])];
  box.append(...axes(x, y, [x0, x1], [y0, y1], width, height));
  box.append(svg("path", {class: "roof", d: `M${from}L${ridge}H${width - EDGE.right}`}));
  const taken = roofBoxes(...from, ...ridge, width);
  box.append(...memoryName(marks, speed, x, y, x0, peaks[0][1] / speed, width, taken));
  box.append(...roofLabels(peaks, speed, x, y, width, height, taken));
  const numbered = marks.slice(0, Math.min(NUMBERED, width < 520 ? 6 : NUMBERED));
  const points = [...marks].reverse().map((mark) => point(mark, x(mark.x), y(mark.y), numbered.indexOf(mark), tell));
  box.append(...points);
  for (const mark of marks.slice(0, 60)) taken.push({x: x(mark.x) - 6, y: y(mark.y) - 6, w: 12, h: 12});
  numbered.forEach((mark, i) => box.append(...numberBeside(String(i + 1), x(mark.x), y(mark.y), taken, width, height)));
  roving(box, [...points].sort((a, b) => a.at - b.at));
  holder.append(box);
  return numbered;
}

function axes(x, y, xs, ys, width, height) {
  const parts = [], bottom = height - EDGE.bottom, right = width - EDGE.right;
  const every = (range, room) => Math.max(1, Math.ceil((range[1] - range[0]) / (room / 54)));
  const ticks = (range, step) => {
    const found = [];
    for (let e = Math.ceil(range[0]); e <= range[1]; e++) if (e % step === 0) found.push(10 ** e);
    return found;
  };
  for (const value of ticks(xs, every(xs, right - EDGE.left))) {
    parts.push(svg("line", {class: "grid", x1: x(value), x2: x(value), y1: EDGE.top, y2: bottom}),
      svg("text", {x: x(value), y: bottom + 18, "text-anchor": "middle", text: value >= 1 && value < 1000 ? value : plain(value)}));
  }
  for (const value of ticks(ys, every(ys, (bottom - EDGE.top) * 1.6))) {
    parts.push(svg("line", {class: "grid", x1: EDGE.left, x2: right, y1: y(value), y2: y(value)}),
      svg("text", {x: EDGE.left - 7, y: y(value) + 5, "text-anchor": "end", text: plain(value)}));
  }
  parts.push(svg("text", {x: (EDGE.left + right) / 2, y: height - 6, "text-anchor": "middle", text: "operations a byte [OP/B]"}),
    svg("text", {x: 6, y: 13, text: "attainable [OP/s]"}));
  return parts;
}
const plain = (value) => {
  const [scale, prefix] = PREFIXES.find(([each]) => value >= each * 0.9995) ?? [1e-12, "p"];
  return `${Math.round((value / scale) * 1000) / 1000}${prefix ? ` ${prefix}` : ""}`;
};

// Where the roof is drawn: no number stands there.
function roofBoxes(fromX, fromY, ridgeX, ridgeY, width) {
  const boxes = [{x: ridgeX, y: ridgeY - 2, w: width - ridgeX, h: 4}];
  const slope = (ridgeY - fromY) / (ridgeX - fromX);
  for (let at = fromX; at < ridgeX; at += 4) boxes.push({x: at, y: fromY + slope * (at - fromX) - 2, w: 4, h: 4});
  return boxes;
}

// The slope's name stands along it, above, where no point is near.
function memoryName(marks, speed, x, y, x0, ridge, width, taken) {
  const text = `memory ${si(speed, "B/s")}`, from = [x(10 ** x0), y(speed * 10 ** x0)], to = [x(ridge), y(speed * ridge)];
  const slope = Math.atan2(from[1] - to[1], to[0] - from[0]), run = 8.6 * text.length * Math.cos(slope);
  const near = (start) => marks.filter((m) => x(m.x) > start - 14 && x(m.x) < start + run + 14);
  const crowd = (start) => near(start).reduce((sum, m) => sum + 1 + m.share, 0);
  let best = from[0] + 10;
  for (let start = best; start + run < to[0] - 8; start += 8) if (crowd(start) < crowd(best)) best = start;
  const py = from[1] - (best - from[0]) * Math.tan(slope) - 9;
  for (let at = 0; at < run; at += 12) taken.push({x: best + at, y: py - at * Math.tan(slope) - 16, w: 14, h: 20});
  return [svg("text", {class: "roof-name", x: best, y: py, transform: `rotate(${(-slope * 180) / Math.PI} ${best} ${py})`, text})];
}

function roofLabels(peaks, speed, x, y, width, height, taken) {
  const parts = [];
  let above = -Infinity;
  peaks.slice(0, 4).forEach(([label, peak], i) => {
    const at = y(peak);
    if (at > height - EDGE.bottom - 4) return;
    if (i) parts.push(svg("line", {class: "lesser", x1: x(peak / speed), x2: width - EDGE.right, y1: at, y2: at}));
    const line = i ? Math.max(at - 6, above + 17) : at - 18, [unit, dtype] = label.split(" ");
    const text = width < 520 ? `${unit} ${si(peak)}` : `${label} ${si(peak, FLOATING.has(dtype) ? "FLOP/s" : "OP/s")}`;
    above = line;
    taken.push({x: width - EDGE.right - 8 * text.length, y: line - 13, w: 8 * text.length, h: 17});
    parts.push(svg("text", {class: "roof-name", x: width - EDGE.right - 2, y: line, "text-anchor": "end", text}));
  });
  return parts;
}

function point(mark, px, py, place, tell) {
  const r = 4 + 9 * Math.sqrt(Math.min(1, mark.share));
  const text = told(mark);
  const shape = mark.memory ? svg("circle", {cx: px, cy: py, r}) : svg("rect", {x: px - r, y: py - r, width: 2 * r, height: 2 * r});
  const group = svg("g", {class: `point ${mark.memory ? "memory" : "compute"}`, tabindex: -1, role: "img", "aria-label": text},
    svg("circle", {class: "target", cx: px, cy: py, r: Math.max(r, 11)}), shape);
  group.at = px;
  const say = () => tell((place >= 0 ? `${place + 1}: ` : "") + text);
  group.addEventListener("pointerenter", say);
  group.addEventListener("focus", say);
  return group;
}
function told(mark) {
  const [row] = mark.rows, first = mark.rows.slice(0, 4).map((each) => each.name + (each.times > 1 ? ` ×${each.times}` : ""));
  const more = mark.rows.length > 4 ? ` and ${mark.rows.length - 4} more` : "";
  return `${first.join(", ")}${more} (${row.kind}): ${three(mark.x)} OP/B, ${si(mark.y, "OP/s")}, ${row.resource}-bound, ` +
    `${percent(mark.share)} of the time`;
}

// A number beside a point, where it covers nothing else.
function numberBeside(text, px, py, taken, width, height) {
  const w = 9 * text.length + 2, h = 15;
  for (const distance of [12, 20, 30, 42, 56]) {
    for (const angle of [-45, -135, 45, 135, 0, 180, -90, 90]) {
      const cx = px + distance * Math.cos((angle * Math.PI) / 180), cy = py + distance * Math.sin((angle * Math.PI) / 180);
      const box = {x: cx - w / 2, y: cy - h / 2, w, h};
      if (box.x < EDGE.left || box.x + w > width - 4 || box.y < EDGE.top || box.y + h > height - EDGE.bottom) continue;
      if (taken.some((o) => box.x < o.x + o.w && o.x < box.x + w && box.y < o.y + o.h && o.y < box.y + h)) continue;
      taken.push(box);
      const lead = distance > 20 ? [svg("line", {class: "lead", x1: px, y1: py, x2: cx, y2: cy})] : [];
      return [...lead, svg("text", {class: "number", x: cx, y: cy + 5, "text-anchor": "middle", text})];
    }
  }
  return [];
}

// One stop for the tab key, arrows from there.
function roving(box, points) {
  points.forEach((each, i) => {
    each.setAttribute("tabindex", i ? -1 : 0);
    each.addEventListener("keydown", (event) => {
      const to = {ArrowRight: i + 1, ArrowDown: i + 1, ArrowLeft: i - 1, ArrowUp: i - 1, Home: 0,
        End: points.length - 1}[event.key];
      if (to === undefined || !points[to]) return;
      event.preventDefault();
      points[to].focus();
    });
  });
}
