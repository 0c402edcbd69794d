// Counts become seconds: the bounds of costmodel/pricing/workload.py.
const RUNS_ON = {matrix: "matrix", vector: "vector", transcendental: "vector"};

// Why the device has no times for these kernels, and in a word; null where it has.
function unpriced(kernels, device, wanted, sizes) {
  const seconds = device.seconds[wanted], found = new Set();
  for (const k of kernels) {
    for (const [kind, count] of k.kinds) {
      if (seconds[kind] === null && count !== 0n) found.add(`${D.kinds[kind][1]} ${typed(D.dtypes[D.kinds[kind][2]], wanted)}`);
    }
  }
  if (found.size) return {word: "no peak", why: `${device.name} has no peak for ${[...found].join(", ")}: choose another type`};
  try {
    sendingOf(kernels, device, sizes);
  } catch (error) {
    if (error instanceof Unlaid) return {word: "no link", why: `${error.message}: add it to the device's file`};
    throw error;
  }
  return null;
}

// Each kernel on a device, of a mesh of these sizes: seconds of one run by unit and of the memory, and the bounds; and the whole
// program.
function priced(kernels, device, wanted, policy, sizes) {
  const seconds = device.seconds[wanted], stands = standing(device, policy), by = device.shaped[wanted] ?? [];
  const sending = sendingOf(kernels, device, sizes);
  const rows = kernels.map((k, place) => {
    const units = {}, longest = {};
    let beside = 0;
    for (const [kind, count] of k.kinds) {
      if (count === 0n) continue;
      const [, engine, dtype] = D.kinds[kind];
      const unit = device.oneUnit ? "compute" : RUNS_ON[engine];
      const busy = number(count) * seconds[kind];
      units[unit] = (units[unit] ?? 0) + busy;
      if (engine !== "matrix") beside += busy;
      if (!(longest[unit]?.[0] >= busy)) longest[unit] = [busy, typed(D.dtypes[dtype], wanted)];
    }
    if (sending && k.sent.length) units.link = sending.seconds[place];
    const bytes = number(k.bits) / 8, memory = bytes / device.bandwidth, busy = Object.values(units);
    const near = Math.min(memory, ...device.levels.map(([, capacity, speed]) => (bytes <= capacity ? bytes / speed : Infinity)));
    const bound = Object.entries(units).reduce((a, b) => (b[1] > a[1] ? b : a), ["memory", memory])[0];
    const compute = Math.max(0, ...busy), done = number(k.done), all = busy.reduce((a, b) => a + b, memory);
    return {...k, bytes, memory, units, compute, bound, resource: [bound, longest[bound]?.[1]].filter(Boolean).join(" "),
      operations: done, times: number(k.runs), ran: {}, intensity: bytes ? done / bytes : Infinity,
      lower: k.needless ? 0 : Math.max(memory, compute) + device.launch, upper: all + device.launch,
      warm: k.needless ? 0 : Math.max(near, compute) + device.launch,
      predicted: stands ? likely(k, device.products[by[k.product?.kind]], bytes, beside, all, stands, sending?.fitted[place]) : 0,
      attainable: done / Math.max(memory, compute)};
  });
  for (const bound of ["lower", "upper", "warm", "predicted"]) {
    const taken = sides(rows, bound);
    rows.forEach((row, i) => {
      row.ran[bound] = taken[i] ? row.times : 0;
      row[`${bound}All`] = row[bound] * row.ran[bound];
    });
    if (bound === "lower") rows.forEach((row, i) => (row.taken = taken[i]));
  }
  return {rows, total: whole(rows, stands, communicationOf(rows, sending, planOf(policy, wanted)))};
}

// Seconds that a kernel is likely to take; of one whose product the device is calibrated for by that product's shape, of what is
// sent as the links are.
function likely(k, how, bytes, beside, all, stands, fitted) {
  const reached = stands.of[k.kind] ?? stands.efficiency;
  if (!how && fitted >= 0) return fitted;
  if (!how) return all / reached + stands.launch;
  const computing = tiled(how, ...k.product.sizes), moving = bytes / (how.memory * how.bandwidth);
  return Math.max(computing, moving) + how.apart * Math.min(computing, moving) + beside / reached + Math.max(how.launch, stands.launch);
}

// A product by its quickest tile: costmodel/pricing/tiles.py.
function tiled(how, ...sizes) {
  const [m, n, k, batch] = sizes.map(number);
  return Math.min(...how.tiles.map(([rows, columns, parts], i) => {
    const waves = Math.ceil(batch * Math.ceil(m / rows) * Math.ceil(n / columns) * parts / how.multiprocessors);
    const steps = waves * Math.ceil(k / parts) * (2 * rows * columns * how.multiprocessors / how.peak);
    const sums = parts > 1 ? batch * m * n * parts * how.sum / how.bandwidth : 0;
    return steps / how.reached[i] + waves * how.start + sums / how.sums + (sums > 0 ? how.again : 0);
  }));
}

// What predictions for a policy go by; undefined where nothing is calibrated.
const standing = (device, policy) => D.stands[device.stands[policy]];

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

// The whole program on a device; what is sent goes on beside what is computed, in the bounds of perfect overlap.
function whole(rows, stands, communication) {
  const predicted = stands ? sumOf(rows, "predictedAll") + stands.call : null;
  const {lower, warm} = communication ?? {lower: sumOf(rows, "lowerAll"), warm: sumOf(rows, "warmAll")};
  const upper = sumOf(rows, "upperAll"), busy = {memory: 0};
  let operations = 0, bytes = 0;
  for (const row of rows) {
    if (!row.taken) continue;
    operations += row.operations * row.times;
    bytes += row.bytes * row.times;
    busy.memory += row.memory * row.times;
    for (const [unit, s] of Object.entries(row.units)) busy[unit] = (busy[unit] ?? 0) + s * row.times;
  }
  const bound = Object.entries(busy).reduce((a, b) => (b[1] > a[1] ? b : a))[0];
  return {lower, upper, warm, predicted, stands, operations, bytes, intensity: operations / bytes, bound, communication};
}
