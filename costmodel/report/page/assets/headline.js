// Cards of the headline metrics: the figure as people say it, and its exact digits.
function card(key, label, value, unit) {
  return html("div", {class: "card", "data-metric": key},
    html("span", {class: "label", text: label}),
    html("span", {class: "big", text: si(number(value), unit)}),
    html("span", {class: "exact", "data-exact": isWhole(value) ? value : number(value), text: `${grouped(value)} ${unit}`}));
}

function timeCard(key, label, text, values, note = "") {
  return html("div", {class: `card time${values.length ? "" : " wide"}`, "data-metric": key, "data-values": values.join(" ")},
    html("span", {class: "label", text: label}),
    html("span", {class: "big", text: unbroken(text)}),
    html("span", {class: "exact", text: unbroken(note)}));
}

// What throughput counts: the value of the batch's symbol.
const batchNow = () => D.batch.map((name) => state.point[name]).find((value) => value !== undefined) ?? 1n;

function timeCards(total, device, absent) {
  if (!total) {
    return [timeCard("time", `time on ${device.name}`, absent.word, [], absent.why)];
  }
  const batch = Number(batchNow()), {lower, upper, predicted, stands} = total;
  const likely = stands ? [timeCard("predicted", `predicted on ${device.name}`, si(predicted, "s"), [predicted],
    `90 % between ${stands.interval.map((factor) => si(factor * predicted, "s")).join(" and ")}; ${stands.words}${shaped(device)}`)] : [];
  return [timeCard("time", `time on ${device.name}`, `${si(lower, "s")} to ${si(upper, "s")}`, [lower, upper]),
    ...likely, timeCard("throughput", "throughput", `${si(batch / upper, "/s")} to ${si(batch / lower, "/s")}`,
      [batch / upper, batch / lower]),
    ...(total.communication ? [sendingCard(total.communication)] : []),
    timeCard("intensity", `intensity, ${total.bound}-bound`, `${three(total.intensity)} OP/B`, [total.intensity])];
}

// The busiest connection beside what is computed, of which a part waits for what is sent.
function sendingCard({laid, seconds, compute, exposed, binds}) {
  return timeCard("communication", `sent to other devices, ${binds ? "communication" : "compute"} takes longer`, si(seconds, "s"),
    [seconds, compute, exposed], `beside ${si(compute, "s")} of computing, which waits ${si(exposed, "s")} at least; ${laid}`);
}

function showHeadline(head, total, device, absent) {
  const cards = [
    ["params", "parameters", ""], ["model_size", "model size", "B"], ["macs", "MACs, dense taps", "MAC"],
    ["flops", "FLOPs", "FLOP"],
    ...(head.ops ? [["ops", "operations on integers", "OP"]] : []), ["transcendentals", "transcendentals", ""],
    ["compulsory", "bytes, compulsory", "B"], ["bytes", `bytes, ${policyNow()}`, "B"], ["activations", "activations, total", ""],
    ["activations_peak", "activations, peak", ""], ["live_peak", `live peak, ${policyNow()}`, "B"],
  ].map(([key, label, unit]) => card(key, label, head[key], unit));
  byId("headline").replaceChildren(...timeCards(total, device, absent), ...cards);
}

// What is said of products that are predicted by their shape.
const shaped = (device) => device.products.map((p) => `; products of ${p.dtype} by their shape, ±${Math.round(100 * p.error)} %`).join("");
