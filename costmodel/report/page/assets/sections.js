// The charts, each with the sentence above it.
function swatch(...shapes) {
  return svg("svg", {class: "swatch", width: 14, height: 14, "aria-hidden": "true"}, ...shapes);
}

function boundKeys() {
  const shapes = [["memory", svg("circle", {cx: 7, cy: 7, r: 6})], ["compute", svg("rect", {x: 1, y: 1, width: 12, height: 12})]];
  return shapes.map(([kind, shape]) =>
    html("span", {class: "key"}, swatch(svg("g", {class: `point ${kind}`}, shape)), `${kind}-bound`));
}

function showRoofline({rows, total, absent}) {
  const device = deviceNow(), say = byId("roofline-say"), told = byId("roofline-told");
  told.textContent = "";
  if (!rows) {
    byId("roofline").replaceChildren();
    byId("roofline-names").replaceChildren();
    say.textContent = `${absent.why}.`;
    return;
  }
  const marks = drawRoofline(byId("roofline"), rows, device, state.dtype, total.lower, (text) => (told.textContent = text));
  say.replaceChildren(`${device.title}: kernels of ${policyNow()}, larger where they take longer. `, ...boundKeys());
  byId("roofline-names").replaceChildren(...marks.map((mark) => html("li", {},
    html("span", {class: "name", title: mark.rows.map((row) => row.name).join(", "), text: mark.name}),
    html("span", {class: "value", text: percent(mark.share)}))));
}

// What is known of the device, and who says so.
function showSources() {
  const device = deviceNow(), [told, table] = byId("sources").children;
  told.textContent = `What is known of ${device.name}, and who says so`;
  if (!byId("sources").open) return;
  const say = (value, unit) => (unit === "1" ? String(value) : unit === "FLOP" ? `${value} FLOP` : si(value, unit));
  table.firstChild.replaceChildren(...device.figures.map(([label, value, unit, source]) => html("tr", {},
    html("th", {scope: "row", text: D.texts[label]}), html("td", {text: say(value, D.texts[unit])}),
    html("td", {text: D.texts[source]}))));
}

function showTime({rows, total}) {
  const say = byId("time-say"), {levels} = deviceNow();
  if (!rows) {
    byId("time").replaceChildren();
    say.textContent = "";
    return;
  }
  const nearer = levels.map(([name]) => name).join(" or ");
  const bounds = [si(total.lower, "s"), si(total.upper, "s")];
  say.textContent = `Solid: at least, ${bounds[0]} in all. Outline: at most, ${bounds[1]}, where nothing overlaps.` +
    (nearer ? ` If what fits into ${nearer} is found there: ${si(total.warm, "s")}.` : "");
  drawTime(byId("time"), rows, byId("time-by").value);
}

function fitsText(device, peak) {
  if (!device.capacity) return `${device.name} states no capacity.`;
  const {capacity} = device, name = `${device.name} (${si(capacity, "B")})`;
  return peak <= capacity ? `It fits ${name}, ${percent(peak / capacity)} of it.`
    : `It does not fit ${name}: ${three(peak / capacity)} times too much.`;
}

function showMemory({program, head}) {
  const device = deviceNow(), told = byId("memory-told");
  const fits = fitsText(device, number(head.live_peak));
  byId("memory-say").textContent = `Live bytes in program order, policy ${policyNow()}. ${fits}`;
  told.textContent = "";
  drawProfile(byId("memory"), program.profile, program.kernels, device, (text) => (told.textContent = text));
}
