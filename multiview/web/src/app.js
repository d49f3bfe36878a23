/* What the reader does: sliders, the lesson, the address, and the page's beginning. */
"use strict";

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
