// The page: what is chosen is computed, and shown.
const tree = treeOf();
if (tree.root.children.length === 1) tree.root.children[0].open = true;
let now = null, later = 0, waiting = false;

function compute(args) {
  const choice = choiceNow(), device = deviceNow(), program = programAt(args, choice);
  const absent = unpriced(program.kernels, device, choice.dtype, program.sizes);
  const {rows, total} = absent ? {rows: null, total: null}
    : priced(program.kernels, device, choice.dtype, choice.policy, program.sizes);
  return {args, choice, program, absent, rows, total, head: headlineAt(args, program, choice)};
}

function troubleText(found) {
  if (found.error) return `${found.error}. The domain is ${D.domain.text || "constant"}.`;
  const another = elsewhere(found.args);
  if (another) return `${another} cost.at(…) has its own.`;
  const sizes = [...axesAt(found.args).values()].join();
  return !D.partitioned.some((each) => each.join() === sizes)
    ? "Over a mesh of these sizes the partitioner was not asked what is sent: cost.at(…) asks it."
    : "";
}

function update() {
  const began = performance.now(), found = bind(state.point);
  document.body.classList.toggle("stale", Boolean(found.error));
  byId("trouble").textContent = troubleText(found);
  if (found.error) return;
  now = compute(found.args);
  showHeadline(now.head, now.total, deviceNow(), now.absent);
  showRoofline(now);
  showSources();
  showTime(now);
  showMemory(now);
  fillTree(tree, now.program, now.rows, state.dtype, now.total?.lower);
  drawTree(byId("modules"), tree);
  document.documentElement.dataset.ms = (performance.now() - began).toFixed(1);
  clearTimeout(later);
  later = setTimeout(answers, 150);
}

// Several events of a moving slider are one update.
function soon() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => {
    waiting = false;
    update();
  });
}

function openAll(open) {
  for (const path of D.modules) for (let at = tree.node(path); at !== tree.root; at = at.parent) at.open = open;
  drawTree(byId("modules"), tree);
}

function heads() {
  byId("name").textContent = D.name;
  byId("domain").textContent = D.domain.text ? `closed forms for ${D.domain.text}` : "fixed shapes";
  byId("formulas").append(...D.formulas.map(([label, unit, text]) => html("div", {class: "formula"},
    html("span", {class: "label", text: `${label} [${unit}]`}), html("div", {class: "scroll"}, math(text)))));
  const rules = "Time: at least max(compute, memory) a kernel, at most their sum; 2 operations a multiply-accumulate; padding " +
    "taps are not computed. Bytes cross the borders of the policy's kernels.";
  byId("notes").append(...[...D.notes, rules].map((text) => html("p", {text})));
}

function listen() {
  for (const key of ["device", "dtype", "policy"]) {
    byId(key).addEventListener("change", (event) => {
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
  byId("compared").addEventListener("toggle", answers);
  byId("sources").addEventListener("toggle", showSources);
  byId("open-all").addEventListener("click", () => openAll(true));
  byId("close-all").addEventListener("click", () => openAll(false));
  pressing(byId("modules"), tree, () => drawTree(byId("modules"), tree));
  addEventListener("beforeprint", () => {
    for (const child of tree.root.children) child.open = true;
    drawTree(byId("modules"), tree);
  });
  let width = window.innerWidth;
  addEventListener("resize", () => {
    if (window.innerWidth !== width) soon();
    width = window.innerWidth;
  });
}

heads();
const free = D.domain.variables.map((v) => v.name).filter((name) => !D.mesh.some(([axis]) => axis === name));
byId("symbols").append(...[...D.domain.variables].sort((a, b) => (a.name < b.name ? -1 : 1)).map((v) => symbolControl(v, soon)));
fillChoices();
options(byId("along"), free.map((name) => [name, name]), D.batch.find((name) => free.includes(name)) ?? free[0]);
byId("solve-section").classList.toggle("fixed", !free.length);
byId("compared").open = D.devices.length > 1 && D.devices.length <= 8;
listen();
update();
