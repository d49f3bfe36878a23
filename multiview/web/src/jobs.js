/* What is trained and when: runs wait in a queue, and each frame takes a few steps of the first. */
"use strict";

function enqueue(run, { until = run.total, quick = false } = {}) {
  world.jobs.push({ run, until: Math.min(until, run.total), quick });
}

const startOf = (stream, index) => Engine.startNetwork(world.study, world.task, stream, index);
const copyOf = (network) => ({ ...network, U: network.U.slice(), A: network.A.slice() });
const finished = (run) => run != null && run.trainer.steps >= run.total;
const pending = (run) => world.jobs.some((job) => job.run === run);

/** See that network `index` is trained, up to step `until`. */
function needSingle(index, options = {}) {
  if (world.runs[index] === null) {
    const network = startOf(Engine.STREAMS.start, index);
    const total = world.study.train.num_steps;
    world.runs[index] = makeRun(`network ${index + 1}`, [network], { total });
  }
  const run = world.runs[index];
  if (!finished(run) && !pending(run)) enqueue(run, options);
}

function needSeeds() {
  for (let index = 0; index < SEEDS; index++) needSingle(index, { quick: true });
}

/** See that the students have learned from the labels; both kinds of teaching start from these networks. */
function needOwn() {
  for (let a = world.own.length; a < STUDENTS; a++) {
    const network = startOf(Engine.STREAMS.studentStart, a);
    world.own.push(makeRun(`student ${a + 1}, labels alone`, [network], { total: world.study.train.num_steps }));
    enqueue(world.own[a], { quick: true });
  }
}

/** Teach copies of all students; `teachers(a)` are the networks whose mean teaches student a. The first is shown. */
function teach(field, name, teachers, distill) {
  if (!world[field].length) {
    world[field] = world.own.map((own, a) => {
      const teacher = new Float64Array(world.task.samples.count * world.study.data.num_classes);
      for (const { trainer } of teachers(a)) {
        trainer.refresh().forEach((f, i) => (teacher[i] += (distill.teacher_scale * f) / teachers(a).length));
      }
      const total = own.total + distill.num_steps;
      const run = makeRun(`student ${a + 1} of ${name}`, [copyOf(own.networks[0])], { teacher, distill, from: own, total });
      enqueue(run, { quick: a > 0 });
      return run;
    });
  }
  world.jobs.push(() => show(world[field][0]));
  show(world[field][0]);
}

/** What each button does. A later stage is a function in the queue, called when the jobs before it are done. */
const ACTIONS = {
  nothing() {},
  single() {
    needSingle(state.net, { until: state.at || Infinity });
    show(world.runs[state.net]);
  },
  seeds() {
    needSeeds();
    world.jobs.push(() => show(world.runs[state.net]));
  },
  ensemble() {
    needSeeds();
    world.jobs.push(() => {
      const networks = world.runs.flatMap((run) => run.networks);
      world.ensemble = Engine.testErrors(networks, world.tests, world.study);
      show(world.runs[state.net], { who: "the ensemble of 8", networks });
    });
  },
  distil() {
    ACTIONS.ensemble();
    needOwn();
    world.jobs.push(() => {
      teach("distilled", "the ensemble", () => world.runs, world.study.distill);
    });
  },
  self() {
    for (const index of new Set([state.net, 0, 1, 2, 3])) needSingle(index, { quick: true });
    needOwn();
    world.jobs.push(() => {
      teach("self", "one network", (a) => [world.runs[a]], world.study.self_distill);
    });
  },
  average() {
    if (!world.average) {
      const networks = world.runs.map((_, index) => startOf(Engine.STREAMS.start, index));
      world.average = makeRun("8 networks as one model", networks, { total: world.study.train.num_steps });
      enqueue(world.average);
    }
    show(world.average);
  },
};

/** Start an action and make it the page's moment. */
function act(name, at = 0) {
  state.do = name;
  state.at = at;
  world.paused = false;
  ACTIONS[name]();
  say(name === "nothing" ? "" : "Training …");
  writeAddress();
  if (motionless()) while (world.jobs.length) work(Infinity);
  drawAll();
}

const motionless = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

function show(run, { who = run.name, networks = run.networks } = {}) {
  world.shown = { run, who, networks };
}

/** Work on the queue for at most `budget` milliseconds; returns whether anything was done. */
function work(budget) {
  const begin = performance.now();
  const speed = budget === Infinity ? 0 : Number(element("speed").value);
  let steps = 0;
  while (world.jobs.length) {
    const job = world.jobs[0];
    if (typeof job === "function") {
      world.jobs.shift();
      job();
      if (!world.jobs.length) done();
      continue;
    }
    const { run } = job;
    if (job.quick || !world.shown) show(run);
    while (run.trainer.steps < job.until) {
      run.trainer.step();
      steps += 1;
      if (run.trainer.steps >= run.next || run.trainer.steps >= job.until) {
        remember(run);
        run.next = nextRecord(run);
      }
      const limit = job.quick ? 0 : speed;
      if ((limit && steps >= limit) || performance.now() - begin > budget) return steps;
    }
    world.jobs.shift();
    if (!world.jobs.length) done();
  }
  return steps;
}

/** The queue is empty: say what came out, for eyes and for screen readers. */
function done() {
  const f = facts();
  const { shown } = world;
  const broken = world.shown && !shown.run.finite ? " Its numbers have left the finite range: the step is too long here." : "";
  const words = {
    single: `Network ${state.net + 1}: one view learned in ${f.oneView} of ${f.classes} classes, both in ${f.bothViews}. Training error ${f.trainError}, test error ${f.singleError}.`,
    seeds: `Eight networks trained. Their mean test error is ${f.meanError}.`,
    ensemble: `The ensemble of eight has test error ${f.ensembleError}; its members have ${f.meanError} on average.`,
    distil: `The four students of the ensemble have mean test error ${f.distilledError}; before teaching ${f.ownError}.`,
    self: `The four students of one network each have mean test error ${f.selfError}; before teaching ${f.ownError}, their teachers ${f.teacherError}.`,
    average: `Eight networks trained as one model have test error ${f.averageError}.`,
  };
  say((words[state.do] || "") + broken);
  if (lesson.revealed) tellAnswer();
}

const say = (words) => (element("status").textContent = words);

/** Mean errors of some runs, one network each. */
function meanErrors(list) {
  const mean = (key) => list.reduce((sum, run) => sum + run.errors[key], 0) / list.length;
  return { inMu: mean("inMu"), multi: mean("multi"), single: mean("single") };
}

/** What the page has measured, in words for the status and the lesson. */
function facts() {
  const { study, runs } = world;
  const { num_classes: classes, num_views: views } = study.data;
  const trained = runs.filter(finished);
  const run = runs[state.net];
  const mean = (list) => inMu(list.length && list.every(finished) ? meanErrors(list).inMu : null);
  const f = {
    classes, oneView: 0, bothViews: 0, startTold: 0, trainError: "–", singleError: "–", teacherError: mean(runs.slice(0, STUDENTS)),
    meanError: mean(trained),
    ensembleError: inMu(world.ensemble && world.ensemble.inMu),
    distilledError: mean(world.distilled),
    selfError: mean(world.self),
    ownError: mean(world.own),
    averageError: inMu(world.average && world.average.errors.inMu),
  };
  if (!run) return f;
  const { overlaps, trainError } = run.record;
  const last = overlaps[overlaps.length - 1];
  for (let i = 0; i < classes; i++) {
    const now = Array.from(last.slice(i * views, (i + 1) * views));
    const start = Array.from(overlaps[0].slice(i * views, (i + 1) * views));
    const learned = now.filter((x) => x >= study.network.relu_threshold).length;
    if (learned === 1) {
      f.oneView += 1;
      if (now.indexOf(Math.max(...now)) === start.indexOf(Math.max(...start))) f.startTold += 1;
    } else if (learned > 1) f.bothViews += 1;
  }
  f.trainError = inMu(trainError[trainError.length - 1]);
  f.singleError = inMu(run.errors.inMu);
  return f;
}
