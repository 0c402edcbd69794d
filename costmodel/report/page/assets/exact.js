// Exact arithmetic: BigInts, and fractions {n, d} of them where a count is not whole.
function floorDiv(a, b) {
  const q = a / b;
  return a % b !== 0n && (a < 0n) !== (b < 0n) ? q - 1n : q;
}
const ceilDiv = (a, b) => -floorDiv(-a, b);
const largest = (...values) => values.reduce((a, b) => (b > a ? b : a));

const smallest = (...values) => values.reduce((a, b) => (b < a ? b : a));

// Pairs of outputs and taps in O(log), as costmodel/symbolic/array_forms.py counts them on doubles.
function floorSum(count, divisor, slope, start) {
  let total = 0n;
  for (count = largest(count, 0n); count > 0n;) {
    const whole = floorDiv(slope, divisor), offset = floorDiv(start, divisor);
    total += ((count * (count - 1n)) / 2n) * whole + count * offset;
    const reach = (slope - whole * divisor) * count + start - offset * divisor;
    count = floorDiv(reach, divisor);
    [divisor, slope, start] = [slope - whole * divisor, divisor, reach - count * divisor];
  }
  return total;
}
function euclid(a, b) {
  let inverse = 0n, factor = 1n;
  while (a > 0n) {
    const quotient = floorDiv(b, a);
    [a, b, inverse, factor] = [b - quotient * a, a, factor, inverse - quotient * factor];
  }
  return [b, inverse];
}
function tapCount(size, taps, stride, dilation, hole, low, high, valid) {
  const mod = (a, b) => a - floorDiv(a, b) * b;
  const end = size > 0n ? (size - 1n) * hole : -1n;
  const outputs = floorDiv(end + low + high - (taps - 1n) * dilation, stride) + 1n;
  const [common, inverse] = euclid(stride, hole), [shared, inverseStep] = euclid(dilation, common);
  if (outputs <= 0n || taps <= 0n || (valid && end < 0n) || mod(low, shared) !== 0n) return 0n;
  const step = common / shared, period = hole / common;
  const first = mod(mod(low / shared, step) * inverseStep, step);
  const residue = mod(mod((low - first * dilation) / common, period) * inverse, period);
  const turn = mod(mod((-step * dilation) / common, period) * inverse, period);
  const upTo = (begin, stop, divisor, slope, start) => {
    const i = ceilDiv(begin - first, step), j = ceilDiv(stop - first, step);
    const at = slope * (first + i * step) + start - divisor * (residue + i * turn);
    return floorSum(j - i, divisor * period, slope * step - divisor * turn, at);
  };
  if (!valid) return upTo(0n, taps, 1n, 0n, outputs - 1n) - upTo(0n, taps, 1n, 0n, -1n);
  const most = (outputs - 1n) * stride;
  const begin = largest(0n, ceilDiv(low - most, dilation));
  const stop = smallest(taps, floorDiv(end + low, dilation) + 1n);
  const ends = smallest(largest(floorDiv(end + low - most, dilation) + 1n, begin), stop);
  const begins = smallest(largest(ceilDiv(low, dilation), begin), stop);
  return upTo(begin, ends, 1n, 0n, outputs - 1n) + upTo(ends, stop, stride, -dilation, end + low) -
    upTo(begin, begins, stride, -dilation, low - 1n) - upTo(begins, stop, 1n, 0n, -1n);
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
const inverse = (x) => (isWhole(x) ? over(1n, x) : over(x.d, x.n));
const greatestCommon = (a, b) => (b ? greatestCommon(b, a % b) : a < 0n ? -a : a);
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
