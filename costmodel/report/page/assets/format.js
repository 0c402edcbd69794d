// Numbers for people, and elements of the page. Text from the model only ever becomes text nodes and attributes.
const PREFIXES = [[1e18, "E"], [1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"],
  [1e-9, "n"], [1e-12, "p"]];

function three(x) {
  return x >= 100 ? x.toFixed(0) : x >= 10 ? x.toFixed(1) : x.toFixed(2);
}
function si(x, unit = "") {
  if (!x) return `0 ${unit}`.trim();
  if (!Number.isFinite(x)) return `∞ ${unit}`.trim();
  let at = PREFIXES.findIndex(([scale]) => Math.abs(x) >= scale * 0.9995);
  if (at < 0) return `${x.toExponential(2)} ${unit}`.trim();
  const [scale, prefix] = PREFIXES[at];
  return scale === 1 && Number.isInteger(x) ? `${x} ${unit}`.trim() : `${three(x / scale)} ${prefix}${unit}`.trim();
}
const grouped = (x) => (isWhole(x) ? x.toString().replace(/\B(?=(\d{3})+$)/g, "\u202f")
  : number(x).toLocaleString("en", {maximumFractionDigits: 3}));
const percent = (x) => (x >= 0.0995 ? `${(100 * x).toFixed(0)} %` : `${(100 * x).toFixed(1)} %`);
// No line ends between a number and its unit.
const unbroken = (text) => text.replaceAll(/(\d) (?=\S)/g, "$1\u00a0");
// A long path loses its beginning: its end tells it from others.
const tail = (text, most) => (text.length <= most ? text : `…${text.slice(text.length - most + 1)}`);

const SVG = "http://www.w3.org/2000/svg";
function made(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") element.textContent = value;
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}
const html = (tag, attributes = {}, ...children) => made(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) => made(document.createElementNS(SVG, tag), attributes, children);
const byId = (id) => document.getElementById(id);

// MathML that Python wrote; all names in it are escaped there.
function math(text) {
  const holder = document.createElement("template");
  holder.innerHTML = `<math displaystyle="true">${text}</math>`;
  return holder.content.firstChild;
}
