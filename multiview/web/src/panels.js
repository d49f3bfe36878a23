/* The panels: each is drawn again from `state` and `world`. */
"use strict";

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
  element("pause").textContent = world.paused ? "Resume" : "Pause";
  for (const id of ["train", "seeds", "ensemble", "distil", "self", "average", "new-seed", "new-data"]) {
    element(id).disabled = busy;
  }
  const total = world.jobs.reduce((sum, job) => sum + (job.run ? job.until - job.run.trainer.steps : 0), 0);
  if (!busy) world.planned = 0;
  else world.planned = Math.max(world.planned || 0, total);
  element("progress").value = busy && world.planned ? 1 - total / world.planned : 0;
}
