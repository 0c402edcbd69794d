// What goes to other devices, on the links that a mesh's axes are laid on: costmodel/pricing/topology.py, links.py and
// communication.py.
const ROUNDS = {all_gather: 1, reduce_scatter: 1, all_reduce: 2, broadcast: 1, all_to_all: 1};

class Unlaid extends Error {}

// The sizes of the mesh's axes at a point, outermost first; none of one device.
const axesAt = (args) => new Map(D.mesh.map(([axis, place]) => [axis, Number(args[place])]));

// The legs of each axis, the nearest first; throws Unlaid where the device has no links for them.
function lay(device, sizes) {
  const rooms = device.links.map((link) => ({link, taken: 1, along: new Map()})), legs = new Map();
  for (const [axis, size] of [...sizes].reverse()) {
    const place = device.topology[axis];
    legs.set(axis, place === undefined ? byDefault(device, rooms, axis, size) : asSaid(device, rooms, axis, size, place));
  }
  // Which axes of a torus are rings is known when all are laid.
  const along = new Map(rooms.map((room) => [room.link.name, room.along]));
  for (const leg of [...legs.values()].flat()) {
    leg.closed = leg.on.every((i) => along.get(leg.link.name).get(i) >= leg.link.wraparound);
  }
  return new Map([...sizes.keys()].map((axis) => [axis, legs.get(axis)]));
}

function byDefault(device, rooms, axis, size) {
  const found = [];
  let left = size;
  for (const room of rooms) {
    if (left === 1) break;
    const free = room.link.domain === null ? left : Math.max(Math.floor(room.link.domain / room.taken), 1);
    const here = left <= free ? left : common(left, free);
    if (here > 1) {
      found.push(legOn(room, here));
      left /= here;
    }
  }
  if (left === 1) return found;
  const last = device.links.at(-1);
  throw new Unlaid(last ? `${device.name} connects at most ${last.domain} devices by ${last.name}, and the mesh goes on with ` +
    `${axis} of ${size}` : `${device.name} states no link, and the program sends data to other devices`);
}
const common = (a, b) => (b ? common(b, a % b) : a);

function legOn(room, devices, along = [devices]) {
  const {link} = room, leg = {link, devices, on: [], closed: true, stride: 1};
  room.taken *= devices;
  if (link.topology !== "torus") return leg;
  const free = Array.from({length: link.axes}, (_, i) => i).filter((i) => !room.along.has(i));
  leg.on = (free.length ? free : [link.axes - 1]).slice(0, along.length);
  if (leg.on.length === 1) leg.stride = room.along.get(leg.on[0]) ?? 1;
  leg.on.forEach((i, j) => room.along.set(i, (room.along.get(i) ?? 1) * along[j]));
  return leg;
}

// As topology= lays it: a link's name or kind, and of a torus how many of its axes or how many devices along each.
function asSaid(device, rooms, axis, size, place) {
  const [, name, numbers] = /^(.*?)(?:\s+(\d+(?:x\d+)*))?\s*$/.exec(place);
  const room = rooms.find(({link}) => name === link.name || name === link.kind);
  if (!room) throw new Unlaid(`${axis} is laid on ${place}, which is no link of ${device.name}`);
  if (size === 1) return [];
  if (!numbers) return [legOn(room, size)];
  let along = numbers.split("x").map(Number);
  if (along.length === 1) {
    const [axes] = along, each = Math.round(size ** (1 / axes));
    along = each ** axes === size ? new Array(axes).fill(each) : [size, ...new Array(axes - 1).fill(1)];
  }
  const laid = along.reduce((a, b) => a * b);
  if (laid !== size) throw new Unlaid(`${axis} of ${size} devices is laid on ${numbers}, which are ${laid}`);
  const free = room.link.axes - room.along.size;
  if (room.link.topology !== "torus") throw new Unlaid(`${room.link.name} is no torus: ${axis} is laid on ${place}`);
  if (along.length > free) throw new Unlaid(`${axis} is laid on ${along.length} axes of ${room.link.name}, which has fewer left`);
  return [legOn(room, size, along)];
}

// The links that an exchange goes over: along all axes where it names none, and along a part of one where fewer take part.
function legsOf(device, laid, [named, taking], sizes) {
  const axes = (named.length ? named : [...laid.keys()]).filter((axis) => laid.has(axis)), found = new Map();
  for (const leg of axes.flatMap((axis) => laid.get(axis))) {
    const before = found.get(leg.link.name);
    found.set(leg.link.name, before ? joined(before, leg) : leg);
  }
  const legs = device.links.flatMap((link) => found.get(link.name) ?? []);
  return taking !== null && axes.length === 1 && legs.length && taking < sizes.get(axes[0]) ? partOf(legs, taking) : legs;
}

function joined(one, other) {
  const near = one.stride === 1 || other.stride !== 1 ? one : other;
  return {link: one.link, devices: one.devices * other.devices, on: [...new Set([...one.on, ...other.on])].sort((a, b) => a - b),
    closed: one.closed && other.closed, stride: near.stride};
}

function partOf(legs, devices) {
  return legs.flatMap((leg) => {
    const here = Math.min(devices, leg.devices);
    devices = Math.ceil(devices / here);
    return here > 1 ? [{...leg, devices: here}] : [];
  });
}

// Bytes a second out of a device.
function rateOf({link, devices, on, closed, stride}, kind) {
  if (link.topology === "full") return (link.rate * (devices - 1)) / (link.domain ? link.domain - 1 : 1);
  if (link.topology !== "torus") return link.rate;
  const oneDirection = (link.rate * on.length) / (2 * link.axes * stride);
  return closed && ROUNDS[kind] ? 2 * oneDirection : oneDirection;
}

const alongOf = (leg) => (leg.on.length === 1 ? leg.devices : leg.devices ** (1 / leg.on.length));

// How often something is sent on, one time after another.
function hopsOf(leg, kind) {
  const rounds = ROUNDS[kind], {topology} = leg.link;
  if (!rounds) return leg.stride;
  if (topology === "full" || (topology === "switch" && kind === "all_to_all")) return rounds;
  if (topology !== "torus") return rounds * (leg.devices - 1);
  const along = alongOf(leg);
  return rounds * leg.stride * leg.on.length * (leg.closed ? along / 2 : along - 1);
}

function legSeconds(leg, kind, sent, far) {
  const start = leg.link.latency === null ? 0 : (far ?? hopsOf(leg, kind)) * leg.link.latency;
  const torus = leg.link.topology === "torus" && kind === "all_to_all";
  const carried = torus ? (leg.devices * alongOf(leg)) / (4 * (leg.devices - 1)) : 1;
  return start + (carried * sent) / rateOf(leg, kind);
}

// The share of its bytes that a collective sends over each of several legs.
function partsOf(kind, legs) {
  const all = (some) => some.reduce((product, leg) => product * leg.devices, 1);
  if (legs.length < 2) return legs.map(() => 1);
  if (!ROUNDS[kind]) return legs.map((_, i) => (i === legs.length - 1 ? 1 : 0));
  return legs.map((leg, i) => {
    const others = kind === "all_to_all" ? legs.slice(0, i) : legs.slice(i + 1);
    return ((leg.devices - 1) * all(others)) / (all(legs) - 1);
  });
}

// How far the furthest partner of a permutation is along the axes of a torus.
function farOf([named, , partners], kind, legs, laid, sizes) {
  if (ROUNDS[kind] || !partners || !legs.every((leg) => leg.link.topology === "torus")) return undefined;
  const axes = named.filter((axis) => (sizes.get(axis) ?? 1) > 1).reverse();
  return Math.max(...partners.map(([from, to]) => {
    let [a, b, steps] = [from, to, 0];
    for (const axis of axes) {
      const size = sizes.get(axis), [leg] = laid.get(axis), apart = Math.abs((a % size) - (b % size));
      steps += leg.stride * (leg.closed ? Math.min(apart, size - apart) : apart);
      [a, b] = [Math.floor(a / size), Math.floor(b / size)];
    }
    return steps;
  }));
}

// Seconds as the links are calibrated, by the quickest protocol of each; not a number where one is not.
function fittedSeconds(device, kind, sent, legs, parts) {
  return legs.reduce((sum, {link, devices}, i) => {
    const found = device.collectives.find((each) => each.link === link.name && each.kind === kind);
    if (!found) return NaN;
    const steps = kind === "all_to_all" ? 1 : kind === "all_reduce" ? 2 * (devices - 1) : devices - 1, bytes = parts[i] * sent;
    return sum + Math.min(...found.protocols.map(([launch, step, rate, own]) =>
      launch + steps * step + (rate ? bytes / rate : 0) + (own ? bytes / (devices - 1) / own : 0)));
  }, 0);
}

const lanesOf = (leg) => (leg.on.length ? leg.on.map((i) => `${leg.link.name} ${i}`) : [leg.link.name]);

function laidText(laid) {
  const how = ({link, on, closed, stride}) => (link.topology !== "torus" ? link.topology
    : `${on.length} of ${link.axes} axes of a torus, ${closed ? "closed" : "not closed"}` +
      (stride === 1 ? "" : `, every ${stride}th device`));
  return [...laid].filter(([, legs]) => legs.length).map(([axis, legs]) =>
    `${axis} on ${legs.map((leg) => `${leg.link.name} x ${leg.devices} (${how(leg)})`).join(" and ")}`).join("; ");
}

// What the kernels send: seconds of each kernel's run, in all, by connection and as calibrated. Null where nothing is sent; throws
// Unlaid.
function sendingOf(kernels, device, sizes) {
  if (!kernels.some((k) => k.sent.some(([, bits]) => bits !== 0n))) return null;
  const laid = lay(device, sizes), none = () => kernels.map(() => 0), seconds = none(), fitted = none(), lanes = new Map();
  kernels.forEach((k, i) => {
    if (!k.sent.length) fitted[i] = NaN;
    for (const [kind, bits, exchange] of k.sent) {
      const sent = number(bits) / 8, over = legsOf(device, laid, exchange, sizes), legs = over.filter((leg) => leg.devices !== 1);
      const parts = partsOf(kind, legs), far = farOf(exchange, kind, over, laid, sizes);
      fitted[i] += fittedSeconds(device, kind, sent, legs, parts);
      legs.forEach((leg, j) => {
        if (parts[j] === 0) return;
        const part = legSeconds(leg, kind, parts[j] * sent, far);
        seconds[i] += part;
        for (const lane of lanesOf(leg)) {
          if (!lanes.has(lane)) lanes.set(lane, none());
          lanes.get(lane)[i] += part;
        }
      });
    }
  });
  return {laid: laidText(laid), seconds, lanes, fitted};
}
