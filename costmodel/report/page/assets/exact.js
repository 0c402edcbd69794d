// Exact arithmetic: BigInts, and fractions {n, d} of them where a count is not whole.
function floorDiv(a, b) {
  const q = a / b;
  return a % b !== 0n && (a < 0n) !== (b < 0n) ? q - 1n : q;
}
const ceilDiv = (a, b) => -floorDiv(-a, b);
const largest = (...values) => values.reduce((a, b) => (b > a ? b : a));

// The pairs of outputs and taps of a window along one dimension; costmodel/symbolic/taps.py says which.
function tapCount(size, taps, stride, dilation, hole, low, high, valid) {
  const length = size > 0n ? (size - 1n) * hole + 1n : 0n;
  const end = floorDiv(length + low + high - (taps - 1n) * dilation - 1n, stride);
  let total = 0n;
  for (let tap = 0n; tap < taps; tap++) {
    const begin = low - tap * dilation;
    const first = valid ? largest(0n, ceilDiv(begin, stride)) : 0n;
    const inside = floorDiv(length - 1n + begin, stride);
    const last = valid && inside < end ? inside : end;
    if (first > last) continue;
    for (let residue = 0n; residue < hole; residue++) {
      if ((residue * stride - begin) % hole !== 0n) continue;
      total += floorDiv(last - residue, hole) - floorDiv(first - 1n - residue, hole);
    }
  }
  return total;
}
function ceilLog2(n) {
  let levels = 0n;
  for (let reach = 1n; reach < n; reach *= 2n) levels++;
  return levels;
}

const over = (n, d) => (n % d === 0n ? n / d : {n, d});
const isWhole = (x) => typeof x === "bigint";
function plus(a, b) {
  if (isWhole(a) && isWhole(b)) return a + b;
  const [x, y] = [a, b].map((v) => (isWhole(v) ? {n: v, d: 1n} : v));
  return over(x.n * y.d + y.n * x.d, x.d * y.d);
}
function times(a, b) {
  if (isWhole(a) && isWhole(b)) return a * b;
  const [x, y] = [a, b].map((v) => (isWhole(v) ? {n: v, d: 1n} : v));
  return over(x.n * y.n, x.d * y.d);
}
function less(a, b) {
  if (isWhole(a) && isWhole(b)) return a < b;
  const [x, y] = [a, b].map((v) => (isWhole(v) ? {n: v, d: 1n} : v));
  return x.n * y.d < y.n * x.d;
}
function number(x) {
  if (isWhole(x)) return Number(x);
  const whole = floorDiv(x.n, x.d); // the rest is below 1, and what it loses cannot be seen beside it
  return Number(whole) + Number(((x.n - whole * x.d) << 60n) / x.d) / 2 ** 60;
}
// A function's numerators and denominators as values, one a form.
function settled(raw, below) {
  for (const [form, place] of below) raw[form] = over(raw[form], raw[place]);
  return raw;
}
