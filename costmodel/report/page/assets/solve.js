// Questions along one symbol, all others as they are: what fits, and where the bound flips. See costmodel/solve.
const DOUBLINGS = 62n;

// The domain along a symbol: its values are step·i from `first` on.
function lineOf(point, name) {
  const here = bind(point);
  const i = D.domain.variables.findIndex((v) => v.name === name), v = D.domain.variables[i], step = stepsAt(here)[i];
  const at = (k) => ({...point, [name]: step * k});
  const inside = (k) => k >= 1n && !bind(at(k)).error;
  const now = point[name] / step;
  const least = ceilDiv(BigInt(Math.max(v.lower, 1)), step);
  // Relations may cut the domain above its lower bound; it has no holes.
  const first = inside(least) ? least : firstTrue(inside, least, now);
  const cap = v.upper === null ? 1n << DOUBLINGS : BigInt(v.upper) / step;
  const ends = inside(cap) ? cap : firstTrue((k) => !inside(k), now, cap) - 1n;
  return {name, step, first, last: v.upper === null && ends === cap ? null : ends, args: (k) => bind(at(k)).args};
}

// The least k from `first` on at which a condition holds that stays true; null where it does not up to the end.
function firstTrue(holds, first, last) {
  let below = first - 1n, k = first;
  for (let doubling = 0n; !holds(k); doubling++) {
    if (k === last || doubling === DOUBLINGS) return null;
    below = k;
    k += 1n << doubling;
    if (last !== null && k > last) k = last;
  }
  while (k - below > 1n) {
    const middle = (k + below) / 2n;
    if (holds(middle)) k = middle;
    else below = middle;
  }
  return k;
}

// The live peak at a value of the symbol, in bits, remembered.
function peaksAlong(line, choice) {
  const known = new Map();
  return (k) => {
    if (!known.has(k)) {
      const v = settled(forms(...line.args(k)), D.formsBelow);
      known.set(k, profileAt(v, choice.policy, choice.dtype, choice.donate).most);
    }
    return known.get(k);
  };
}

// The largest value whose live peak fits in so many bytes: [value, bits there, next value, bits there], null for none.
function largestFit(line, peak, capacity) {
  const room = BigInt(Math.round(capacity)) * 8n;
  const above = firstTrue((k) => less(room, peak(k)), line.first, line.last);
  if (above === null) {
    return {all: true, value: line.last === null ? null : line.last * line.step, used: peak(line.last ?? line.first)};
  }
  if (above === line.first) return {none: true, next: above * line.step, nextUsed: peak(above)};
  return {value: (above - 1n) * line.step, used: peak(above - 1n), next: above * line.step, nextUsed: peak(above)};
}

// What the whole program ("") and the kernels of each kind do at a value of the symbol, remembered: operations by their kind, and
// bits moved, as parts on branches.
function loadsAlong(line, choice) {
  const known = new Map();
  return (k) => {
    if (known.has(k)) return known.get(k);
    const v = settled(forms(...line.args(k)), D.formsBelow), loads = new Map();
    for (const kernel of kernelsAt(v, worksAt(v), choice.policy, choice.dtype)) {
      for (const name of ["", kernel.kind]) {
        if (!loads.has(name)) loads.set(name, {ops: new Map(), bits: []});
        const load = loads.get(name);
        load.bits.push([kernel.branch, times(kernel.bits, kernel.runs)]);
        for (const [kind, count] of kernel.kinds) {
          if (!load.ops.has(kind)) load.ops.set(kind, []);
          load.ops.get(kind).push([kernel.branch, times(count, kernel.runs)]);
        }
      }
    }
    known.set(k, loads);
    return loads;
  };
}

// Seconds of the busiest unit over those of the memory.
function ratioOf({ops, bits}, device, choice) {
  const units = {}, seconds = device.seconds[choice.dtype];
  for (const [kind, parts] of ops) {
    const engine = D.kinds[kind][1], unit = device.oneUnit ? "compute" : RUNS_ON[engine];
    units[unit] = (units[unit] ?? 0) + seconds[kind] * number(combine(parts));
  }
  return (Math.max(0, ...Object.values(units)) * device.bandwidth) / (number(combine(bits)) / 8);
}

// Where compute takes longer than memory from then on, or the other way round, for the whole program or kernels of a kind.
function crossover(line, device, choice, loads, kind = "") {
  const above = (k) => ratioOf(loads(k).get(kind), device, choice) > 1;
  const rising = above(line.last ?? 1n << DOUBLINGS), becomes = rising ? "compute" : "memory";
  if (above(line.first) === rising) return {becomes};
  const k = firstTrue((each) => above(each) === rising, line.first, line.last);
  return k === null || (k > line.first && above(k - 1n) === rising) ? {} : {becomes, value: k * line.step};
}
