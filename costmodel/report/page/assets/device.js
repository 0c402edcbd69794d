// Counts become seconds: the bounds of costmodel/pricing/workload.py.
const RUNS_ON = {matrix: "matrix", vector: "vector", transcendental: "vector", link: "link"};

// What the device has no peak for, of all that the kernels do; empty where it can price them.
function missing(kernels, device, wanted) {
  const seconds = device.seconds[wanted], found = new Set();
  for (const k of kernels) {
    for (const [kind, count] of k.kinds) {
      if (seconds[kind] === null && count !== 0n) found.add(`${D.kinds[kind][1]} ${typed(D.dtypes[D.kinds[kind][2]], wanted)}`);
    }
  }
  return [...found];
}

// Each kernel on a device: seconds of one run by unit and of the memory, and the bounds.
function priced(kernels, device, wanted) {
  const seconds = device.seconds[wanted];
  const rows = kernels.map((k) => {
    const units = {}, longest = {};
    for (const [kind, count] of k.kinds) {
      if (count === 0n) continue;
      const [, engine, dtype] = D.kinds[kind];
      const unit = device.oneUnit && engine !== "link" ? "compute" : RUNS_ON[engine];
      const busy = number(count) * seconds[kind];
      units[unit] = (units[unit] ?? 0) + busy;
      if (!(longest[unit]?.[0] >= busy)) longest[unit] = [busy, typed(D.dtypes[dtype], wanted)];
    }
    const bytes = number(k.bits) / 8, memory = bytes / device.bandwidth, busy = Object.values(units);
    const near = Math.min(memory, ...device.levels.map(([, capacity, speed]) => (bytes <= capacity ? bytes / speed : Infinity)));
    const bound = Object.entries(units).reduce((a, b) => (b[1] > a[1] ? b : a), ["memory", memory])[0];
    const compute = Math.max(0, ...busy), done = number(k.done);
    return {...k, bytes, memory, units, compute, bound, resource: [bound, longest[bound]?.[1]].filter(Boolean).join(" "),
      operations: done, times: number(k.runs), intensity: bytes ? done / bytes : Infinity,
      lower: Math.max(memory, compute) + device.launch, upper: busy.reduce((a, b) => a + b, memory) + device.launch,
      warm: Math.max(near, compute) + device.launch,
      attainable: done / Math.max(memory, compute)};
  });
  for (const bound of ["lower", "upper", "warm"]) {
    const taken = sides(rows, bound);
    rows.forEach((row, i) => (row[`${bound}All`] = taken[i] ? row[bound] * row.times : 0));
  }
  return rows;
}

// Which kernels run, where of every branch the side runs that takes longest.
function sides(rows, bound) {
  const taken = rows.map(() => true);
  const settle = (found) => {
    let total = 0;
    const conds = new Map();
    for (const [i, branch] of found) {
      if (!branch.length) {
        total += rows[i][bound] * rows[i].times;
        continue;
      }
      const [cond, which, of] = branch[0];
      if (!conds.has(cond)) conds.set(cond, Array.from({length: of}, () => []));
      conds.get(cond)[which].push([i, branch.slice(1)]);
    }
    for (const each of conds.values()) {
      const sums = each.map(settle), runs = sums.indexOf(Math.max(...sums));
      each.forEach((side, which) => which !== runs && side.forEach(([i]) => (taken[i] = false)));
      total += sums[runs];
    }
    return total;
  };
  if (rows.some((row) => row.branch.length)) settle(rows.map((row, i) => [i, row.branch]));
  return taken;
}

const sumOf = (rows, key) => rows.reduce((sum, row) => sum + row[key], 0);

// The whole program on a device.
function whole(rows) {
  const lower = sumOf(rows, "lowerAll"), upper = sumOf(rows, "upperAll"), warm = sumOf(rows, "warmAll"), busy = {memory: 0};
  let operations = 0, bytes = 0;
  for (const row of rows) {
    if (!row.lowerAll) continue;
    operations += row.operations * row.times;
    bytes += row.bytes * row.times;
    busy.memory += row.memory * row.times;
    for (const [unit, s] of Object.entries(row.units)) busy[unit] = (busy[unit] ?? 0) + s * row.times;
  }
  const bound = Object.entries(busy).reduce((a, b) => (b[1] > a[1] ? b : a))[0];
  return {lower, upper, warm, operations, bytes, intensity: operations / bytes, bound};
}
