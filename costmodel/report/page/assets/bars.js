// Bars of time: at least (solid) and at most (outline), the longest first.
const BARS = 14;

// What stands together: alike kernels, a kind, or an outermost module.
function groupOf(row, by) {
  if (by === "kind") return row.kind;
  if (by === "module") return row.module.split("/")[0] || "(root)";
  return [row.kind, row.primitive, row.lowerAll, row.upperAll].join();
}

function together(rows, by) {
  const groups = new Map();
  for (const row of rows) {
    const key = groupOf(row, by);
    if (!groups.has(key)) {
      const name = by === "kernel" ? row.name : key;
      groups.set(key, {name, kind: by === "kernel" ? row.kind : "", lower: 0, upper: 0, memory: 0, compute: 0, count: 0});
    }
    const group = groups.get(key);
    group.lower += row.lowerAll;
    group.upper += row.upperAll;
    group.memory += row.lowerAll ? row.memory * row.times : 0;
    group.compute += row.lowerAll ? row.compute * row.times : 0;
    group.count += 1;
  }
  return [...groups.values()].sort((a, b) => b.lower - a.lower);
}

function drawTime(holder, rows, by) {
  const all = together(rows, by), total = sumOf(all, "lower"), shown = all.slice(0, BARS), rest = all.slice(BARS);
  const most = Math.max(...shown.map((g) => Math.max(g.upper, g.lower)), 1e-300);
  const lines = shown.map((g) => barLine(g, most, total));
  if (rest.length) {
    const others = {name: `${sumOf(rest, "count")} others`, kind: "", lower: sumOf(rest, "lower"), count: 1};
    lines.push(barLine(others, null, total));
  }
  holder.replaceChildren(html("ol", {class: "bars"}, ...lines));
}

function barLine(group, most, total) {
  const alike = group.kind && group.count > 1 ? ` and ${group.count - 1} alike` : "";
  const bar = html("span", {class: "bar", "aria-hidden": "true"});
  if (most) {
    const [full, solid] = ["upper", group.memory >= group.compute ? "memory" : "compute"].map((name) => html("i", {class: name}));
    full.style.width = `${(100 * group.upper) / most}%`;
    solid.style.width = `${(100 * group.lower) / most}%`;
    bar.append(full, solid);
  }
  return html("li", {},
    html("span", {class: "name", title: group.name}, html("span", {text: tail(group.name, 40)}),
      ...(group.kind ? [html("small", {text: ` ${group.kind}${alike}`})] : [])),
    bar, html("span", {class: "value", text: `${si(group.lower, "s")} · ${percent(total ? group.lower / total : 0)}`}));
}
