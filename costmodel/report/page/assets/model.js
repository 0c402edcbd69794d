// The program at a point: closed forms evaluated, then added up over equations, kernels and buffers.
const D = JSON.parse(document.getElementById("data").textContent);
const FLOATING = new Set(D.floating);

// The internal variables' values at a point of user symbols; an error says what is wrong with it.
function bind(point) {
  const args = D.domain.variables.map(() => 1n);
  for (const [i, v] of D.domain.variables.entries()) {
    const value = point[v.name];
    if (value < BigInt(v.lower)) return {error: `${v.name} = ${value} is below ${v.lower}`};
    if (v.upper !== null && value > BigInt(v.upper)) return {error: `${v.name} = ${value} is above ${v.upper}`};
    const divisor = boundsAt(args)[v.divisor];
    if (value % divisor !== 0n) return {error: `${v.name} = ${value} is no multiple of ${divisor}`};
    args[i] = value / divisor;
  }
  const bounds = boundsAt(args);
  for (const [text, form] of D.domain.relations) {
    if (less(bounds[form], 0n)) return {error: `outside the domain: ${text}`};
  }
  for (const [text, part, whole] of D.domain.multiples) {
    if (!isWhole(times(bounds[whole], inverse(bounds[part])))) return {error: `outside the domain: ${text}`};
  }
  return {args, divisors: D.domain.variables.map((v) => bounds[v.divisor])};
}

// By how much each symbol goes from one value of the domain to the next one, where devices share a dimension evenly too.
function stepsAt({args, divisors}) {
  const here = boundsAt(args);
  return divisors.map((divisor, i) => {
    const next = boundsAt(args.map((value, j) => (i === j ? value + 1n : value)));
    return D.domain.multiples.reduce((step, [, part, whole]) => {
      const slope = plus(next[whole], times(-1n, here[whole]));
      if (slope === 0n || next[part] !== here[part]) return step;
      const scale = isWhole(slope) ? here[part] / greatestCommon(here[part], slope) : here[part];
      return (step * scale) / greatestCommon(step / divisor, scale);
    }, divisor);
  });
}
const boundsAt = (args) => settled(bounds(...args), D.boundsBelow);

// Is the point on a boundary at which no concrete trace was compared with the forms?
function unsettled(args) {
  const values = boundsAt(args);
  const on = D.domain.boundaries.flatMap((form, i) => (values[form] === 0n ? [i] : []));
  return on.length > 0 && !D.domain.same.some((each) => each.join() === on.join());
}

// What is said of a point at which another program than that of these forms holds, or may hold; "" at all others.
function elsewhere(args) {
  const region = D.domain.region;
  if (region.seen.some((point) => point.every((value, i) => BigInt(value) === args[i]))) return "";
  const values = boundsAt(args);
  if (region.outcomes.length) {
    const here = region.tests.map(([form, equal]) => (equal ? values[form] === 0n : !less(values[form], 0n)));
    if (!region.outcomes.some((each) => each.every((outcome, i) => outcome === here[i]))) {
      return `Another program holds here: these figures are of the one ${region.conditions ? `where ${region.conditions}` : "beside"}.`;
    }
  } else if (region.always) {
    return "No concrete trace was compared here, and another program may hold: these figures are not verified.";
  }
  if (region.margins === null) return "Here jax may contract an einsum in another order than that of these figures: not verified.";
  if (region.margins.some((form) => less(values[form], 0n))) {
    return "Another program holds here: jax contracts an einsum in another order than that of these figures.";
  }
  if (region.margins.some((form) => values[form] === 0n)) {
    return "Here an einsum takes as many operations in another order, which jax may choose: not verified.";
  }
  return unsettled(args)
    ? "Here a size decides what jax traces, and the program may be another than that of these figures: not verified."
    : "";
}

// What a type becomes where every floating one is priced in another.
const typed = (dtype, wanted) => (wanted && FLOATING.has(dtype) ? wanted : dtype);
const bitsOf = (place, wanted) => BigInt(D.bits[typed(D.dtypes[place], wanted)]);

// One quantity over parts [branch, value]: of the sides of each `cond` the one with most counts.
function combine(parts) {
  let total = 0n;
  const conds = new Map();
  for (const [branch, value] of parts) {
    if (!branch.length) {
      total = plus(total, value);
      continue;
    }
    const [cond, which, of] = branch[0];
    if (!conds.has(cond)) conds.set(cond, Array.from({length: of}, () => []));
    conds.get(cond)[which].push([branch.slice(1), value]);
  }
  for (const sides of conds.values()) {
    total = plus(total, sides.map(combine).reduce((a, b) => (less(a, b) ? b : a)));
  }
  return total;
}

// The counts of every distinct work, dense and valid: multiply-accumulates, operations, transcendentals.
function worksAt(v) {
  return D.works.map((ops) => {
    const found = {macs: 0n, flops: 0n, transcendentals: 0n, done: 0n, kinds: [], sent: []};
    for (let i = 0; i < ops.length; i += 3) {
      const [name, engine, dtype] = D.kinds[ops[i]];
      const [dense, valid] = [v[ops[i + 1]], v[ops[i + 2]]];
      if (engine === "link") {
        found.sent.push([name, dense, dtype]);
        continue;
      }
      const weight = name === "mac" ? 2n : engine === "vector" ? 1n : 0n;
      if (name === "mac") found.macs = plus(found.macs, dense);
      if (engine === "transcendental") found.transcendentals = plus(found.transcendentals, dense);
      if (weight && FLOATING.has(D.dtypes[dtype])) found.flops = plus(found.flops, times(weight, dense));
      if (weight) found.done = plus(found.done, times(weight, valid));
      found.kinds.push([ops[i], valid]);
    }
    return found;
  });
}

const branchOf = (equation) => D.branches[D.equations[equation][3]];

// The kernels and buffers of a policy where floating-point types are priced in another one. Some policies have others in it, which
// name its types themselves.
const planOf = (policy, wanted) => D.policies[policy].types[wanted] ?? D.policies[policy];
const planBits = (policy, wanted) => D.dtypes.map((_, i) => bitsOf(i, D.policies[policy].types[wanted] ? "" : wanted));

// Kernels of a policy: what each does in one run. Exact until they meet a device.
function kernelsAt(v, works, policy, wanted) {
  const bits = D.dtypes.map((_, i) => bitsOf(i, wanted)), crossed = planBits(policy, wanted);
  return planOf(policy, wanted).kernels.map(([kind, primitive, main, equations, crossing, needless, product]) => {
    const kinds = new Map(), sent = [];
    let done = 0n, moved = 0n;
    for (const e of equations) {
      const work = works[D.equations[e][0]], exchange = D.exchanges[D.equations[e][4]];
      for (const [name, count, dtype] of work.sent) sent.push([name, times(count, bits[dtype]), exchange]);
      done = plus(done, work.done);
      for (const [k, count] of work.kinds) kinds.set(k, plus(kinds.get(k) ?? 0n, count));
    }
    for (let i = 0; i < crossing.length; i += 2) moved = plus(moved, times(v[crossing[i]], crossed[crossing[i + 1]]));
    const module = D.modules[D.equations[main][2]];
    return {kind: D.labels[kind], primitive, name: module || D.labels[primitive], module, main, kinds, sent, done, bits: moved,
      needless, product: product && {kind: product[0], sizes: product.slice(1).map((i) => v[i])},
      runs: v[D.equations[main][1]], branch: branchOf(main)};
  });
}

const policyBits = (v, kernels, wanted) => plus(
  combine(kernels.map((k) => [k.branch, times(k.bits, k.runs)])),
  D.copied.reduce((sum, [form, dtype]) => plus(sum, times(2n * bitsOf(dtype, wanted), v[form])), 0n));

// Live bits at every step of the schedule, by what they are held for, and the first step with most.
function profileAt(v, policy, wanted, donate) {
  const plan = planOf(policy, wanted), bits = planBits(policy, wanted);
  const buffers = plan.buffers[donate && plan.buffers[1] ? 1 : 0];
  const steps = Math.max(1, plan.kernels.length);
  const change = D.held.map(() => new Array(steps + 1).fill(0n));
  for (let i = 0; i < buffers.length; i += 5) {
    const size = times(v[buffers[i]], bits[buffers[i + 1]]), row = change[buffers[i + 2]];
    row[buffers[i + 3]] = plus(row[buffers[i + 3]], size);
    row[buffers[i + 4] + 1] = plus(row[buffers[i + 4] + 1], times(-1n, size));
  }
  const total = new Array(steps).fill(0n);
  for (const row of change) {
    for (let step = 0; step < steps; step++) {
      if (step) row[step] = plus(row[step], row[step - 1]);
      total[step] = plus(total[step], row[step]);
    }
    row.pop();
  }
  let peak = 0;
  for (let step = 1; step < steps; step++) if (less(total[peak], total[step])) peak = step;
  return {split: change, total, peak, most: total[peak]};
}

// Everything at a point that no device is needed for. `wanted` is the type to price in, "" for as traced.
function programAt(args, choice) {
  const v = settled(forms(...args), D.formsBelow);
  const works = worksAt(v);
  const kernels = kernelsAt(v, works, choice.policy, choice.dtype);
  return {v, works, kernels, sizes: axesAt(args), profile: profileAt(v, choice.policy, choice.dtype, choice.donate)};
}

// The headline metrics: closed forms, but for what follows a policy.
function headlineAt(args, program, choice) {
  const line = settled(lines(...args), D.linesBelow), wanted = choice.dtype, at = (name) => line[D.headline[name]];
  const integers = wanted && !FLOATING.has(wanted);
  const [traced, wide, narrow] = D.headline.compulsory.map((place) => line[place]);
  const width = BigInt(wanted ? D.bits[wanted] : 0);
  const step = times({n: width - 8n, d: 8n}, plus(wide, times(-1n, narrow)));
  const size = D.params.reduce((sum, [, form, dtype]) => plus(sum, times(program.v[form], bitsOf(dtype, wanted))), 0n);
  return {
    params: at("params"), buffers: at("buffers"), macs: at("macs"), flops: integers ? 0n : at("flops"),
    ops: integers ? plus(at("ops"), at("flops")) : at("ops"), transcendentals: at("transcendentals"),
    activations: at("activations"), activations_peak: at("activations_peak"),
    model_size: times({n: 1n, d: 8n}, size), compulsory: wanted ? plus(narrow, step) : traced,
    bytes: times({n: 1n, d: 8n}, policyBits(program.v, program.kernels, wanted)),
    live_peak: times({n: 1n, d: 8n}, program.profile.most),
  };
}
