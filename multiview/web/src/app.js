/* The page: what has been trained, what is being trained, and the panels that show it.
 *
 * All text reaches the page through textContent. `state` is what the address can say; `world` is what it leads to.
 */
"use strict";

(() => {
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

  // ---- Jobs: one run after the other, a few steps a frame. ----

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

  // ---- Panels. ----

  function drawAll() {
    drawRace();
    drawErrors();
    drawOverlaps();
    drawMosaic();
    drawSamples();
    drawButtons();
  }

  /** What moves is drawn in each frame; tables, which cost more and are read more slowly, in every twelfth. */
  function drawFrame() {
    frames += 1;
    if (frames % 12 === 0 || !world.jobs.length) return drawAll();
    drawRace();
    drawButtons();
  }

  function drawRace() {
    const { study, shown } = world;
    const { num_classes: classes, num_views: views } = study.data;
    const run = shown && shown.run;
    const total = run ? run.total : study.train.num_steps;
    const onset = run ? run.onset : 0;
    Draw.race(element("race-canvas"), {
      record: run && run.record, classes, views, threshold: study.network.relu_threshold,
      sigma: study.network.init_std, last: total, onset, names: CLASS_NAMES,
    });
    Draw.curves(element("curves-canvas"), { record: run && run.record, last: total, onset });
    element("race-who").textContent = run ? run.name : "nothing trained yet";
    if (!run) {
      element("race-summary").textContent = "Lines show Λ, the largest overlap of a view with a neuron of its class. ϱ marks where it counts as learned.";
      element("curves-summary").textContent = "Train a network to see its errors.";
      return;
    }
    const last = run.record.overlaps.length - 1;
    const parts = [];
    for (let i = 0; i < classes; i++) {
      const values = [];
      for (let v = 0; v < views; v++) values.push(`${CLASS_NAMES[i]}${v + 1} ${run.record.overlaps[last][i * views + v].toPrecision(2)}`);
      parts.push(values.join(", "));
    }
    const marked = onset ? ` The upright dashed line is step ${onset}, where the teacher set in.` : "";
    element("race-summary").textContent = `Λ at step ${run.trainer.steps}: ${parts.join("; ")}. ϱ = ${study.network.relu_threshold}.${marked}`;
    element("curves-summary").textContent =
      `Step ${run.trainer.steps}: training error ${inMu(run.record.trainError[last])}, test error ${inMu(run.errors.inMu)}. Larger values are drawn at the top edge.`;
  }

  function drawErrors() {
    const trained = world.runs.filter(finished);
    const of = (run) => (run ? run.errors : null);
    const all = (list) => (list.length && list.every(finished) ? meanErrors(list) : null);
    const rows = [
      [`network ${state.net + 1}`, of(world.runs[state.net])],
      [`mean of ${trained.length || "the"} trained network${trained.length === 1 ? "" : "s"}`,
        all(trained)],
      ["ensemble of 8", world.ensemble],
      [`${STUDENTS} students, labels alone`, all(world.own)],
      [`${STUDENTS} students of the ensemble`, all(world.distilled)],
      [`${STUDENTS} students of one network`, all(world.self)],
      ["8 networks as one model", of(world.average)],
    ];
    fill("errors-body", ...rows.map(([name, errors]) => {
      const bar = make("span", { class: "bar" });
      bar.style.width = errors ? `${Math.min(errors.inMu, 1) * 100}%` : "0";
      const title = errors ? `wrong: ${(100 * errors.multi).toFixed(1)} % of multi-view, ${(100 * errors.single).toFixed(1)} % of single-view samples` : "not trained yet";
      return make("tr", { title, class: errors ? "" : "missing" }, make("th", { scope: "row" }, name),
        make("td", {}, errors ? errors.inMu.toFixed(2) : "–"), make("td", { class: "track" }, bar));
    }));
  }

  function drawMosaic() {
    const { num_classes: classes, num_views: views } = world.study.data;
    fill("mosaic-head", make("tr", {}, make("th", { scope: "col" }, "class"),
      ...world.runs.map((_, s) => make("th", { scope: "col", class: s === state.net ? "now" : "" }, String(s + 1)))));
    const rows = [];
    for (let i = 0; i < classes; i++) {
      rows.push(make("tr", {}, make("th", { scope: "row" }, CLASS_NAMES[i]), ...world.runs.map((run) => {
        const cell = make("td");
        if (!run) return cell;
        const last = run.record.overlaps[run.record.overlaps.length - 1];
        const learned = [];
        for (let v = 0; v < views; v++) if (last[i * views + v] >= world.study.network.relu_threshold) learned.push(v + 1);
        cell.append(learned.length ? learned.join(" ") : "·");
        cell.className = learned.length === 1 ? `view-${learned[0]}` : learned.length ? "views" : "";
        return cell;
      })));
    }
    fill("mosaic-body", ...rows);
  }

  function drawOverlaps() {
    const { study, shown } = world;
    const { num_classes: k, num_views: views } = study.data;
    const m = study.network.neurons_per_class;
    const features = Array.from({ length: k * views }, (_, f) => f);
    fill("overlaps-head", make("tr", {}, make("th", { scope: "col" }, "class"),
      ...features.map((f) => make("th", { scope: "col" }, featureName(f, views)))));
    element("overlaps-who").textContent = shown ? shown.who : "nothing trained yet";
    element("overlaps-body").parentElement.style.minWidth = `${1 + 2.4 * features.length}rem`;
    const rows = [];
    for (let i = 0; i < k; i++) {
      const cells = features.map((f) => {
        let top = 0;
        if (shown) {
          for (const network of shown.networks) {
            let best = 0;
            for (let r = 0; r < m; r++) best = Math.max(best, network.U[(f * k + i) * m + r]);
            top += best / shown.networks.length;
          }
        }
        const own = Math.floor(f / views) === i;
        const cell = make("td", { class: own ? "own" : "" }, shown ? (top < 0.005 ? "0" : top.toFixed(top < 1 ? 2 : 1)) : "·");
        cell.style.setProperty("--heat", Math.min(1, top / 5).toFixed(3));
        return cell;
      });
      rows.push(make("tr", {}, make("th", { scope: "row" }, CLASS_NAMES[i]), ...cells));
    }
    fill("overlaps-body", ...rows);
  }

  /** Which samples to show: three multi-view and four single-view ones of the chosen set. */
  function chosenSamples() {
    const from = element("which").value;
    const pick = (task, numbers) => numbers.map((n) => ({ task, n }));
    if (from === "train") {
      const { num_train: all, num_single_view_train: single } = world.study.data;
      const multi = [0, 1, 2].map((i) => (sampleOffset * 3 + i) % (all - single));
      const few = [0, 1, 2, 3].map((i) => all - single + ((sampleOffset * 4 + i) % single));
      return pick(world.task, [...multi, ...few]);
    }
    const [multi, single] = world.tests;
    return [...pick(multi, [0, 1, 2].map((i) => (sampleOffset * 3 + i) % multi.samples.count)),
      ...pick(single, [0, 1, 2, 3].map((i) => (sampleOffset * 4 + i) % single.samples.count))];
  }

  function drawSamples() {
    const { study, shown } = world;
    const { num_classes: k, num_views: views, num_patches: patches } = study.data;
    element("samples-who").textContent = shown ? shown.who : "a network (none is trained yet)";
    fill("samples-head", make("tr", {}, make("th", { scope: "col" }, "class"), make("th", { scope: "col" }, "kind"),
      make("th", { scope: "col", colspan: patches }, "patches"), make("th", { scope: "col" }, "answer")));
    const cache = new Map();
    const outputs = (task) => {
      if (!cache.has(task)) {
        cache.set(task, task === world.task ? trainLogits(shown.networks) : Engine.meanLogits(shown.networks, task, study));
      }
      return cache.get(task);
    };
    fill("samples-body", ...chosenSamples().map(({ task, n }) => {
      const { samples } = task;
      const cells = [];
      for (let p = 0; p < patches; p++) cells.push(patchCell(samples, n * patches + p, views));
      const kind = samples.chosen[n] < 0 ? "multi" : `single, ${CLASS_NAMES[samples.labels[n]]}${samples.chosen[n] + 1}`;
      const row = make("tr", {}, make("th", { scope: "row" }, CLASS_NAMES[samples.labels[n]]), make("td", { class: "kind" }, kind), ...cells);
      if (!shown) {
        row.append(make("td", {}, "–"));
        return row;
      }
      const F = outputs(task);
      const answer = Engine.best(F, n * k, k);
      const right = answer === samples.labels[n];
      const soft = Engine.softRow(F, n * k, k, 4, Infinity, new Float64Array(k));
      const bars = make("span", { class: "soft", role: "img", "aria-label": Array.from(soft, (x, c) => `${CLASS_NAMES[c]} ${(100 * x).toFixed(0)} %`).join(", ") });
      soft.forEach((x, c) => {
        const bar = make("span", { class: "level" });
        bar.style.height = `${Math.max(3, 100 * x)}%`;
        bars.append(make("span", { class: "column" }, make("span", { class: "space" }, bar), CLASS_NAMES[c]));
      });
      const verdict = make("span", { class: right ? "right" : "wrong" }, `${CLASS_NAMES[answer]} ${right ? "✓" : "✗"}`);
      row.append(make("td", {}, make("span", { class: "answer" }, verdict, bars)));
      return row;
    }));
  }

  /** Logits of a model on the training samples, where each network knows the noise it was trained on. */
  function trainLogits(networks) {
    const F = new Float64Array(world.task.samples.count * world.study.data.num_classes);
    for (const network of networks) {
      Engine.logits(network, world.task, world.study).forEach((x, i) => (F[i] += x / networks.length));
    }
    return F;
  }

  function patchCell(samples, at, views) {
    const feature = samples.feature[at];
    if (feature < 0) return make("td", { class: "patch empty" }, make("span", { class: "sr" }, "empty"));
    const strength = samples.coefficient[at];
    const bar = make("span", { class: `fill view-${(feature % views) + 1}` });
    bar.style.height = `${Math.min(strength / 1.05, 1) * 100}%`;
    const label = make("span", { class: "name" }, featureName(feature, views));
    return make("td", { class: "patch", title: `${featureName(feature, views)}, strength ${strength.toFixed(2)}` },
      make("span", { class: "well" }, bar), label, make("span", { class: "sr" }, ` strength ${strength.toFixed(2)}`));
  }

  function drawButtons() {
    const busy = world.jobs.length > 0;
    element("pause").disabled = !busy;
    element("pause").textContent = world.paused ? "Go on" : "Pause";
    for (const id of ["train", "seeds", "ensemble", "distil", "self", "average", "new-seed", "new-data"]) {
      element(id).disabled = busy;
    }
    const total = world.jobs.reduce((sum, job) => sum + (job.run ? job.until - job.run.trainer.steps : 0), 0);
    if (!busy) world.planned = 0;
    else world.planned = Math.max(world.planned || 0, total);
    element("progress").value = busy && world.planned ? 1 - total / world.planned : 0;
  }

  // ---- Sliders, symbols. ----

  function makeSliders() {
    fill("sliders", ...Address.SLIDERS.map((slider) => {
      const input = make("input", { type: "range", id: `slider-${slider.id}`, min: 0, max: slider.values.length - 1, step: 1 });
      input.addEventListener("input", () => {
        state[slider.id] = slider.values[Number(input.value)];
        showSlider(slider);
      });
      input.addEventListener("change", () => restart());
      return make("div", { class: "slider" },
        make("label", { for: `slider-${slider.id}` }, make("b", {}, slider.symbol), ` ${slider.name}`),
        make("output", { for: `slider-${slider.id}`, id: `value-${slider.id}` }), input);
    }));
    for (const slider of Address.SLIDERS) showSlider(slider);
  }

  function showSlider(slider) {
    const input = element(`slider-${slider.id}`);
    input.value = slider.values.indexOf(state[slider.id]);
    input.setAttribute("aria-valuetext", String(state[slider.id]));
    element(`value-${slider.id}`).textContent = String(state[slider.id]);
  }

  function makeSymbols() {
    const more = [
      ["Λ", "largest overlap of a view with a neuron of its class; learned above ϱ"],
      ["μ", "the fraction of single-view samples, and the unit of all errors here"],
      ["A1", "view 1 of class A; a small letter-and-number names a feature everywhere"],
    ];
    const rows = [...more, ...Address.SLIDERS.filter((s) => s.symbol !== "μ").map((s) => [s.symbol, s.name])];
    fill("symbols", ...rows.map(([symbol, words]) => make("div", {}, make("dt", {}, symbol), make("dd", {}, words))));
  }

  function drawLegend() {
    const keys = [];
    for (let v = 1; v <= world.study.data.num_views; v++) keys.push(make("span", { class: `key view-${v}` }, `view ${v}`), " ");
    fill("race-legend", ...keys);
  }

  /** Forget everything trained and begin again in the state's world. */
  function restart({ keepAction = false } = {}) {
    if (!keepAction) {
      state.do = "nothing";
      state.at = 0;
    }
    world = makeWorld();
    say("");
    writeAddress();
    drawLegend();
    drawAll();
  }

  // ---- The lesson. ----

  function openScreen(number, { focus = true } = {}) {
    state.screen = number;
    lesson = { chosen: null, revealed: false };
    element("lesson-start").hidden = number > 0;
    element("lesson-screen").hidden = number === 0;
    document.querySelectorAll(".look").forEach((node) => node.classList.remove("look"));
    writeAddress();
    if (number === 0) {
      if (focus) element("lesson-begin").focus();
      return;
    }
    const screen = LESSON[number - 1];
    element("lesson-number").textContent = `Screen ${number} of ${LESSON.length}`;
    element("lesson-title").textContent = screen.title;
    fill("lesson-text", ...screen.text.map((words) => make("p", {}, words)));
    const panel = element(screen.look);
    panel.classList.add("look");
    const heading = panel.querySelector("h2").firstChild.textContent.replace(/[:,]? *$/, "");
    element("lesson-look").textContent = `Look at the framed panel: ${heading}`;
    element("lesson-question").textContent = `Predict: ${screen.question}`;
    element("lesson-options").replaceChildren(element("lesson-question"), ...screen.options.map((words, i) => {
      const input = make("input", { type: "radio", name: "prediction", id: `option-${i}`, value: i });
      input.addEventListener("change", () => {
        lesson.chosen = i;
        element("lesson-reveal").disabled = false;
      });
      return make("label", { for: `option-${i}` }, input, ` ${words}`);
    }));
    element("lesson-reveal").disabled = true;
    element("lesson-reveal").hidden = false;
    fill("lesson-answer");
    element("lesson-next").textContent = number === LESSON.length ? "Finish" : "Next";
    element("lesson-back").disabled = number === 1;
    if (focus) element("lesson-title").focus();
  }

  function reveal() {
    const screen = LESSON[state.screen - 1];
    lesson.revealed = true;
    element("lesson-reveal").hidden = true;
    document.querySelectorAll("#lesson-options input").forEach((input) => (input.disabled = true));
    fill("lesson-answer", make("p", {}, "Watch …"));
    act(screen.run);
    if (!world.jobs.length) done();
    element("lesson-next").focus({ preventScroll: true });
  }

  function tellAnswer() {
    const screen = LESSON[state.screen - 1];
    const agree = lesson.chosen === screen.theory;
    const first = agree
      ? "You predicted what the theory says."
      : `You predicted: “${screen.options[lesson.chosen]}”. The theory says: “${screen.options[screen.theory]}”.`;
    fill("lesson-answer", make("p", {}, make("strong", {}, first)), make("p", {}, screen.answer(facts())));
  }

  // ---- The address. ----

  let written = location.hash;

  function writeAddress() {
    written = Address.format(state, DEFAULTS);
    // replaceState keeps the back button free of every click; some browsers refuse it for files.
    try {
      history.replaceState(null, "", written);
    } catch {
      location.hash = written;
    }
  }

  function readAddress() {
    const { state: read, problems } = Address.parse(location.hash, DEFAULTS);
    state = read;
    element("notice").hidden = problems.length === 0;
    element("notice").textContent = problems.join(" ");
    for (const slider of Address.SLIDERS) showSlider(slider);
    const { do: action, at } = state;
    restart({ keepAction: true });
    openScreen(state.screen, { focus: false });
    if (action !== "nothing") act(action, at);
  }

  // ---- Frames. ----

  let lastFrame = 0;
  let rate = 0;
  let frames = 0;
  let pace = 0;

  function frame(time) {
    if (world.jobs.length && !world.paused) {
      const steps = work(12);
      if (lastFrame && time > lastFrame) {
        rate = rate ? 0.9 * rate + 100 / (time - lastFrame) : 1000 / (time - lastFrame);
        pace = 0.9 * pace + 0.1 * steps;
        element("rate").textContent = `${rate.toFixed(0)} frames/s, ${pace.toFixed(0)} steps a frame`;
        document.documentElement.dataset.frames = rate.toFixed(1);
      }
      lastFrame = time;
      drawFrame();
    } else lastFrame = 0;
    requestAnimationFrame(frame);
  }

  // ---- Wiring. ----

  function setTheme(name) {
    if (name === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = name;
    drawAll();
  }

  function begin() {
    const on = (id, event, run) => element(id).addEventListener(event, run);
    world = makeWorld();
    element("world").open = matchMedia("(min-width: 761px)").matches;
    makeSliders();
    makeSymbols();
    on("train", "click", () => act("single"));
    on("pause", "click", () => {
      world.paused = !world.paused;
      const run = world.shown && world.shown.run;
      // A pause in the training of one network is a moment that the address can name.
      if (run && run === world.runs[state.net] && state.do === "single") state.at = world.paused ? run.trainer.steps : 0;
      writeAddress();
      say(world.paused && run ? `Paused at step ${run.trainer.steps}.` : "Training …");
      drawButtons();
    });
    on("new-seed", "click", () => {
      state.net = (state.net + 1) % SEEDS;
      act("single");
    });
    on("new-data", "click", () => {
      state.seed = (state.seed + 1) % 10000;
      restart();
      say(`New samples: data seed ${state.seed}. Nothing is trained yet.`);
    });
    for (const name of ["seeds", "ensemble", "distil", "self", "average"]) on(name, "click", () => act(name));
    on("reset", "click", () => {
      state = { ...Address.defaultState(DEFAULTS), screen: state.screen };
      for (const slider of Address.SLIDERS) showSlider(slider);
      element("notice").hidden = true;
      restart();
      say("Everything is at its default.");
    });
    on("which", "change", drawSamples);
    on("others", "click", () => {
      sampleOffset += 1;
      drawSamples();
    });
    on("link", "click", async () => {
      writeAddress();
      try {
        await navigator.clipboard.writeText(location.href);
        element("linked").textContent = "Copied.";
      } catch {
        element("linked").textContent = "Copy it from the address bar.";
      }
    });
    on("theme", "change", () => setTheme(element("theme").value));
    on("lesson-begin", "click", () => openScreen(1));
    on("lesson-back", "click", () => openScreen(state.screen - 1));
    on("lesson-next", "click", () => openScreen(state.screen === LESSON.length ? 0 : state.screen + 1));
    on("lesson-look", "click", () => {
      const panel = element(LESSON[state.screen - 1].look);
      panel.scrollIntoView({ behavior: motionless() ? "auto" : "smooth", block: "center" });
      panel.focus({ preventScroll: true });
    });
    on("lesson-end", "click", () => openScreen(0));
    on("lesson-reveal", "click", reveal);
    addEventListener("resize", drawAll);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
    addEventListener("hashchange", () => {
      if (location.hash !== written && !(location.hash === "" && written === "#")) readAddress();
    });
    readAddress();
    requestAnimationFrame(frame);
  }

  begin();
})();
