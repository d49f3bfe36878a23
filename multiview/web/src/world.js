/* What the page is about: `state` is what the address can say, `world` is what it leads to; and how elements are made.
 *
 * All text reaches the page through textContent. The scripts share one scope, which `explorer.py` puts around them.
 */
"use strict";

const element = (id) => document.getElementById(id);
const CLASS_NAMES = "ABCDEFGH";
const SEEDS = 8;
const STUDENTS = 4; // one student more or less lucky says little; student a is taught by network a, or by all

let state = Address.defaultState(DEFAULTS);
let world = null;
let lesson = { chosen: null, revealed: false };
let sampleOffset = 0;

// ---- Making elements. ----

/** An element with attributes, text and children; nothing is ever parsed as markup. */
function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

const fill = (id, ...children) => element(id).replaceChildren(...children);
const inMu = (value) => (value === null || value === undefined ? "–" : `${value.toFixed(2)} μ`);
const featureName = (feature, views) => CLASS_NAMES[Math.floor(feature / views)] + ((feature % views) + 1);

// ---- The world of a state. ----

/** Samples, tests, and places for everything that can be trained on them. */
function makeWorld() {
  const study = Address.studyOf(state, DEFAULTS);
  const task = Engine.makeTask(Engine.trainingSet(study));
  return {
    study, task, tests: Engine.makeTests(study), jobs: [], paused: false, shown: null,
    runs: new Array(SEEDS).fill(null), own: [], distilled: [], self: [], average: null, ensemble: null,
  };
}

/** Networks that train together, from their start, with what was recorded on the way. */
function makeRun(name, networks, { teacher = null, distill = null, from = null, total }) {
  const trainer = Engine.makeTrainer(world.study, world.task, networks, teacher, distill);
  const record = from
    ? Object.fromEntries(Object.entries(from.record).map(([key, list]) => [key, list.slice()]))
    : { steps: [], overlaps: [], trainError: [], testError: [] };
  const run = { name, networks, trainer, record, total, onset: from ? from.total : 0, first: from ? from.total : 0 };
  run.next = run.first + 1;
  if (from) Object.assign(run, { errors: from.errors, finite: from.finite }).trainer.steps = from.total;
  else remember(run);
  return run;
}

/** Record the measures of a run at its present step. */
function remember(run) {
  const { study, task, tests } = world;
  const k = study.data.num_classes;
  const F = run.trainer.refresh();
  const errors = Engine.testErrors(run.networks, tests, study);
  run.errors = errors;
  run.record.steps.push(run.trainer.steps);
  run.record.overlaps.push(meanOverlaps(run.networks));
  run.record.trainError.push(Engine.wrong(F, task.samples, k).error / study.data.single_view_fraction);
  run.record.testError.push(errors.inMu);
  run.finite = run.networks.every((network) => network.U.every(Number.isFinite));
}

/** Largest overlaps Λ, averaged over the networks of a model. */
function meanOverlaps(networks) {
  const sum = Engine.largestOverlaps(networks[0], world.study);
  for (const network of networks.slice(1)) Engine.largestOverlaps(network, world.study).forEach((x, i) => (sum[i] += x));
  return sum.map((x) => x / networks.length);
}

/** Steps at which to record: a new one each time the step grows by 8 %, so evenly on the log axis. */
const nextRecord = (run) => {
  const since = run.trainer.steps - run.first;
  return run.first + Math.max(since + 1, Math.ceil(since * (run.first ? 1.15 : 1.08)));
};
