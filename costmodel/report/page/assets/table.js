// The tree of modules: each row sums what is inside it. Headings sort among siblings, names open formulas.
const COLUMNS = [["params", "parameters"], ["macs", "MACs"], ["flops", "FLOPs"], ["transcendentals", "transc."], ["bytes", "bytes"],
  ["lower", "time ≥"], ["share", "share"]];
const COUNTS = COLUMNS.slice(0, 5).map(([key]) => key);

function treeOf() {
  const root = {path: null, name: "", depth: -1, children: [], open: true};
  const known = new Map();
  const node = (path) => {
    if (known.has(path)) return known.get(path);
    const cut = path.lastIndexOf("/"), parent = path === "" || cut < 0 ? root : node(path.slice(0, cut));
    const name = path === "" ? "(root)" : path.slice(cut + 1);
    const here = {path, name, depth: parent.depth + 1, children: [], parent, open: false, told: false};
    parent.children.push(here);
    known.set(path, here);
    return here;
  };
  D.modules.forEach(node);
  return {root, node, sort: null, falling: true};
}

// Values of every node. With branches each column counts, at every node, the side that has most of it.
function fillTree(tree, program, rows, wanted, total) {
  const parts = [];
  const integers = wanted && !FLOATING.has(wanted);
  for (const [module, form] of D.params) parts.push([D.modules[module], [], {params: program.v[form]}]);
  for (let e = 0; e < D.own; e++) {
    const [work, runs, module] = D.equations[e], found = program.works[work];
    if (!D.works[work].length) continue;
    const run = (count) => times(count, program.v[runs]);
    const {macs, flops, transcendentals} = found;
    parts.push([D.modules[module], branchOf(e),
      {macs: run(macs), flops: integers ? 0n : run(flops), transcendentals: run(transcendentals)}]);
  }
  for (const k of program.kernels) parts.push([k.module, k.branch, {bytes: times({n: 1n, d: 8n}, times(k.bits, k.runs))}]);
  const below = new Map();
  for (const [path, branch, values] of parts) {
    for (let at = tree.node(path); at !== tree.root; at = at.parent) {
      if (!below.has(at)) below.set(at, {});
      const sums = below.get(at);
      for (const [column, value] of Object.entries(values)) {
        if (branch.length) (sums[`${column} sides`] ??= []).push([branch, value]);
        else sums[column] = plus(sums[column] ?? 0n, value);
      }
    }
  }
  for (const [at, sums] of below) {
    at.values = {lower: 0};
    for (const column of COUNTS) {
      at.values[column] = plus(sums[column] ?? 0n, combine(sums[`${column} sides`] ?? []));
    }
  }
  for (const row of rows ?? []) {
    for (let at = tree.node(row.module); at !== tree.root; at = at.parent) if (at.values) at.values.lower += row.lowerAll;
  }
  for (const at of below.keys()) at.values.share = total ? at.values.lower / total : 0;
}

function drawTree(table, tree) {
  const order = (a, b) => {
    const [x, y] = tree.sort === "name" ? [b.name, a.name] : [number2(a.values?.[tree.sort]), number2(b.values?.[tree.sort])];
    return (x < y ? 1 : x > y ? -1 : 0) * (tree.falling ? 1 : -1);
  };
  const lines = [];
  const visit = (parent) => {
    const children = tree.sort ? [...parent.children].sort(order) : parent.children;
    for (const child of children) {
      if (!child.values) continue;
      lines.push(line(child));
      if (child.told) lines.push(detail(child));
      if (child.open) visit(child);
    }
  };
  visit(tree.root);
  table.tHead.replaceChildren(html("tr", {}, ...[["name", "module"], ...COLUMNS].map(([key, text]) => heading(tree, key, text))));
  table.tBodies[0].replaceChildren(...lines);
}
const number2 = (x) => (x === undefined ? 0 : typeof x === "number" ? x : number(x));

function heading(tree, key, text) {
  const sorted = tree.sort === key ? (tree.falling ? "descending" : "ascending") : "none";
  const mark = {descending: " ↓", ascending: " ↑"}[sorted] ?? "";
  return html("th", {scope: "col", "aria-sort": sorted}, html("button", {type: "button", "data-sort": key, text: text + mark}));
}

function toggleOf(node) {
  if (!node.children.some((child) => child.values)) return html("span", {class: "toggle", "aria-hidden": "true"});
  return html("button", {type: "button", class: "toggle", "data-open": node.path, "aria-expanded": String(node.open),
    "aria-label": `inside ${node.path}`, text: node.open ? "▾" : "▸"});
}

function line(node) {
  const told = html("button", {type: "button", class: "name", "data-tell": node.path, "aria-expanded": String(node.told),
    title: node.path, text: node.name});
  const name = html("th", {scope: "row"}, toggleOf(node), told), v = node.values, bar = html("i");
  name.style.paddingInlineStart = `${0.3 + 1.1 * node.depth}em`;
  bar.style.width = `${100 * v.share}%`;
  const cells = COUNTS.map((key) => html("td", {title: grouped(v[key]), "data-exact": isWhole(v[key]) ? v[key] : null,
    text: v[key] === 0n ? "–" : si(number(v[key]))}));
  return html("tr", {"data-path": node.path}, name, ...cells, html("td", {text: v.lower ? si(v.lower, "s") : "–"}),
    html("td", {class: "share"}, bar, html("span", {text: v.share ? percent(v.share) : "–"})));
}

function detail(node) {
  const places = Object.hasOwn(D.parts.of, node.path) ? D.parts.of[node.path] : [];
  const names = [["params", "parameters"], ["macs", "MACs"], ["flops", "FLOPs"]];
  const parts = places.flatMap((place, i) => {
    const [key, name] = names[i], value = node.values[key];
    if (value === 0n) return [];
    return [html("div", {class: "formula"}, html("span", {text: `${name} = `}), math(D.parts.texts[place]),
      html("span", {text: ` = ${grouped(value)}`}))];
  });
  return html("tr", {class: "detail"},
    html("td", {colspan: COLUMNS.length + 1}, html("code", {text: node.path || "(root)"}), ...parts));
}

// Presses on the table; what had the focus has it again.
function pressing(table, tree, draw) {
  table.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const {sort, open, tell} = button.dataset;
    if (sort !== undefined) {
      tree.falling = tree.sort === sort ? !tree.falling : true;
      tree.sort = sort;
    }
    if (open !== undefined) tree.node(open).open = !tree.node(open).open;
    if (tell !== undefined) tree.node(tell).told = !tree.node(tell).told;
    draw();
    const [key, value] = Object.entries({sort, open, tell}).find(([, each]) => each !== undefined);
    [...table.querySelectorAll(`[data-${key}]`)].find((each) => each.dataset[key] === value)?.focus();
  });
}
