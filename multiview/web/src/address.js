/* Everything that can be chosen, and how it is written into the address (after the #) and read back.
 *
 * An address is untrusted: each value must be a whole number in its range or one of a fixed list. What is not allowed
 * falls back to the default, and a sentence for each such value says so. No text of an address is ever used as markup.
 */
"use strict";

const Address = (() => {
  /** The sliders: id in the address, place in the study, symbol, words, and the only values it can have. */
  const SLIDERS = [
    { id: "s0", section: "network", field: "init_std", symbol: "σ₀", name: "size of the random start",
      values: [0.0003, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1] },
    { id: "q", section: "network", field: "relu_power", symbol: "q", name: "power of the activation",
      values: [2, 2.5, 3, 3.5, 4, 5] },
    { id: "threshold", section: "network", field: "relu_threshold", symbol: "ϱ", name: "threshold of the activation",
      values: [0.25, 0.5, 0.75, 1, 1.5, 2] },
    { id: "mu", section: "data", field: "single_view_fraction", symbol: "μ", name: "fraction of single-view samples",
      values: [0.01, 0.02, 0.05, 0.1, 0.2] },
    { id: "rho", section: "data", field: "weak_view_strength", symbol: "ρ", name: "strength of the missing view",
      values: [0, 0.04, 0.08, 0.15, 0.3, 0.5, 1] },
    { id: "gamma", section: "data", field: "single_view_foreign_strength", symbol: "Γ",
      name: "traces of other classes in single-view samples", values: [0, 0.1, 0.2, 0.28, 0.35, 0.5] },
    { id: "s", section: "data", field: "feature_sparsity", symbol: "s", name: "how many traces a sample holds",
      values: [0, 0.4, 0.8, 1.6, 2.4, 3.2] },
    { id: "noise", section: "data", field: "noise_norm", symbol: "ν", name: "noise in a patch",
      values: [0, 0.25, 0.5, 1, 1.5] },
    { id: "views", section: "data", field: "num_views", symbol: "L", name: "views of each class", values: [1, 2, 3] },
    { id: "steps", section: "train", field: "num_steps", symbol: "T", name: "training steps",
      values: [200, 400, 800, 1600, 3200] },
  ];

  const WHOLE = { screen: [0, 8], seed: [0, 9999], net: [0, 7], at: [0, 3200] };
  const ACTIONS = ["nothing", "single", "seeds", "ensemble", "distil", "self", "average"];

  const defaultOf = (slider, defaults) => defaults[slider.section][slider.field];

  /** The state of a page that was opened without an address. `at` = 0 means: to the end. */
  function defaultState(defaults) {
    const state = { screen: 0, seed: 0, net: 0, do: "nothing", at: 0 };
    for (const slider of SLIDERS) state[slider.id] = defaultOf(slider, defaults);
    return state;
  }

  /** Read an address: the state, and a sentence for each thing in it that is not allowed. */
  function parse(hash, defaults) {
    const state = defaultState(defaults);
    const problems = [];
    const seen = new Set();
    const text = hash.replace(/^#/, "");
    for (const part of text === "" ? [] : text.slice(0, 2000).split("&")) {
      const [key, value = "", ...rest] = part.split("=");
      const complain = (allowed, shown = "The default is shown instead") => problems.push(
        `“${part.slice(0, 40)}” in the address is not allowed: ${allowed}. ${shown}.`);
      const slider = SLIDERS.find((one) => one.id === key);
      if (seen.has(key)) complain("each name may stand there once", "The first one counts");
      else if (rest.length) complain("it must have the form name=value");
      else if (slider) {
        const number = /^\d+(\.\d+)?$/.test(value) ? Number(value) : NaN;
        if (slider.values.includes(number)) state[key] = number;
        else complain(`${key} must be one of ${slider.values.join(", ")}`);
      } else if (Object.hasOwn(WHOLE, key)) {
        const [low, high] = WHOLE[key];
        const number = /^\d{1,6}$/.test(value) ? Number(value) : -1;
        if (number >= low && number <= high) state[key] = number;
        else complain(`${key} must be a whole number from ${low} to ${high}`);
      } else if (key === "do") {
        if (ACTIONS.includes(value)) state.do = value;
        else complain(`do must be one of ${ACTIONS.join(", ")}`);
      } else complain("no such name; this page knows screen, seed, net, do, at and the sliders");
      if (Object.hasOwn(state, key)) seen.add(key);
    }
    return { state, problems };
  }

  /** The address of a state: what differs from the default. */
  function format(state, defaults) {
    const usual = defaultState(defaults);
    const parts = Object.keys(usual).filter((key) => state[key] !== usual[key]).map((key) => `${key}=${state[key]}`);
    return parts.length ? `#${parts.join("&")}` : "#";
  }

  /** The study of a state: the defaults with the sliders' values; every feature gets a patch of its own (P = kL). */
  function studyOf(state, defaults) {
    const study = JSON.parse(JSON.stringify(defaults));
    for (const slider of SLIDERS) study[slider.section][slider.field] = state[slider.id];
    study.seed = state.seed;
    study.data.num_patches = study.data.num_classes * study.data.num_views;
    study.distill.onset_step = study.self_distill.onset_step = study.train.num_steps;
    return study;
  }

  return { SLIDERS, ACTIONS, defaultState, parse, format, studyOf };
})();

if (typeof module !== "undefined") module.exports = Address;
