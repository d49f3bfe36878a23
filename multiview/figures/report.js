"use strict";
// The race of one class's views in one network, drawn from the numbers that the page carries.
const race = JSON.parse(document.getElementById("race-data").textContent);
const picture = document.getElementById("race");
const at = (id) => Number(document.getElementById(id).value);
const make = (name, attributes, text) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  picture.append(element);
};
const width = 640, height = 300, left = 56, right = 70, upper = 14, bottom = 40;
const across = (step) => left + (width - left - right) * Math.log(step / race.step[0]) / Math.log(race.step.at(-1) / race.step[0]);
const up = (value) => upper + (height - upper - bottom) * Math.log(race.high / Math.max(value, race.low)) / Math.log(race.high / race.low);
const powers = (low, high) => {
  const found = [];
  for (let p = Math.ceil(Math.log10(low) - 1e-9); 10 ** p <= high * (1 + 1e-9); p++) found.push(10 ** p);
  return found;
};
const word = (value) => value === 0 ? "0" : value < 0.001 ? value.toExponential(1) : String(Number(value.toPrecision(3)));

function draw() {
  const views = race.overlap[at("race-network")][at("race-class")];
  picture.replaceChildren();
  make("path", { class: "axis", d: `M${left} ${upper}V${height - bottom}H${width - right}` });
  for (const step of powers(race.step[0], race.step.at(-1))) {
    make("path", { class: "axis", d: `M${across(step)} ${height - bottom}v5` });
    make("text", { x: across(step), y: height - bottom + 19, "text-anchor": "middle" }, String(step));
  }
  for (const value of powers(race.low, race.high)) {
    make("path", { class: "axis", d: `M${left - 5} ${up(value)}h5` });
    make("text", { x: left - 9, y: up(value) + 4, "text-anchor": "end" }, word(value));
  }
  make("text", { x: (left + width - right) / 2, y: height - 4, "text-anchor": "middle" }, "step (the start at the left edge)");
  make("text", { x: left + 6, y: upper + 8 }, "overlap Λ");
  const ends = views.map((line) => line.at(-1));
  // Names stand at the ends of their lines, pushed apart where lines end together.
  const order = ends.map((_, i) => i).sort((a, b) => ends[b] - ends[a]);
  let last = -Infinity;
  const places = [];
  for (const i of order) places[i] = last = Math.max(up(ends[i]) + 4, last + 16);
  views.forEach((line, i) => {
    make("path", { class: `view view-${i % 3}`, d: "M" + line.map((v, t) => `${across(race.step[t]).toFixed(1)} ${up(v).toFixed(1)}`).join("L") });
    make("text", { class: `label name-${i % 3}`, x: width - right + 8, y: places[i] }, `view ${i + 1}`);
  });
  const winner = order[0] + 1;
  document.getElementById("race-summary").textContent =
    `Network ${at("race-network") + 1}, class ${at("race-class") + 1}: view ${winner} ends at Λ = ${word(ends[order[0]])}` +
    order.slice(1).map((i) => `, view ${i + 1} at ${word(ends[i])}`).join("") + ".";
}
for (const id of ["race-network", "race-class"]) document.getElementById(id).addEventListener("change", draw);
draw();
