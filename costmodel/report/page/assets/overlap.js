// What of the communication is hidden behind what is computed beside it: costmodel/pricing/overlap.py and workload.py.
const besides = new Map();

// Of each kernel that sends in a plan, [its place, those that can run beside all its runs, those beside it in an iteration].
function besideOf(plan) {
  const bitsOf = (hex) => [...BigInt(`0x${hex}`).toString(2)].reverse().flatMap((bit, i) => (bit === "1" ? [i] : []));
  if (!besides.has(plan)) besides.set(plan, plan.beside.map(([c, runs, once]) => [c, bitsOf(runs), bitsOf(once)]));
  return besides.get(plan);
}

// Seconds of the whole program that are sent and computed; null where nothing is sent.
function communicationOf(rows, sending, plan) {
  if (!sending || !sending.lanes.size) return null;
  const sum = (seconds, runs) => seconds.reduce((total, s, i) => total + s * runs[i], 0);
  const runsOf = (bound) => rows.map((row) => row.ran[bound]);
  const lanes = [...sending.lanes].map(([lane, seconds]) => [lane, sum(seconds, runsOf("lower"))]);
  const seconds = Math.max(...lanes.map(([, each]) => each));
  const computed = (bound) => sum(rows.map((row) => (row.kind === "collective" ? 0 : row[bound])), runsOf(bound));
  const [compute, waits] = [computed("lower"), exposed(rows, sending, plan, "lower")];
  return {laid: sending.laid, lanes, seconds, compute, exposed: waits, binds: seconds > compute,
    lower: Math.max(compute + waits, seconds), warm: Math.max(computed("warm") + exposed(rows, sending, plan, "warm"), seconds)};
}

// Seconds at least that the units wait for what is sent, because nothing else is left to compute meanwhile.
function exposed(rows, sending, plan, bound) {
  const beside = besideOf(plan), hidden = beside.map(([c, always, once]) => {
    const often = (row) => Math.max(row.times / Math.max(rows[c].times, 1), 1);
    return always.reduce((total, i) => total + rows[i][bound] * rows[i].ran[bound], 0) +
      once.reduce((total, i) => total + (rows[i].ran[bound] > 0 ? rows[i][bound] * often(rows[i]) : 0), 0);
  });
  return Math.max(0, ...[...sending.lanes.values()].map((lane) => beside.reduce(
    (total, [c], row) => total + Math.max(lane[c] - hidden[row], 0) * rows[c].ran[bound], 0)));
}
