/* The simulation: data, networks, training and measures, in plain functions over typed arrays.
 *
 * It is the exact limit of large patch dimension (docs/theory.md, section 7): a patch is (feature, coefficient,
 * private noise direction), and a network is its overlaps U with the features and A with the private directions.
 * A `study` has the sections and names of the Python package (`multiview.config`), so a study means the same in both.
 * Nothing here knows of the page; the same file runs in a browser and in node. It is long because it is the whole
 * simulation: whoever wants to run or check it elsewhere takes this one file.
 */
"use strict";

const Engine = (() => {
  // ---- Random numbers: named streams of one seed, so that more networks or samples never change the others. ----

  const STREAMS = { training: 1, start: 2, studentStart: 3, test: 4, testNoise: 5 };

  /** A generator of uniform numbers in [0, 1) from any list of whole numbers (hashed, then sfc32). */
  function generator(...words) {
    const state = [0x9e3779b9, 0x243f6a88, 0xb7e15162, 1];
    const next = () => {
      const t = (state[0] + state[1] + state[3]) | 0;
      state[3] = (state[3] + 1) | 0;
      state[0] = state[1] ^ (state[1] >>> 9);
      state[1] = (state[2] + (state[2] << 3)) | 0;
      state[2] = (state[2] << 21) | (state[2] >>> 11);
      state[2] = (state[2] + t) | 0;
      return (t >>> 0) / 4294967296;
    };
    for (const word of words) {
      state[0] ^= word | 0;
      state[1] = Math.imul(state[1] ^ word, 0x85ebca6b);
      for (let i = 0; i < 12; i++) next();
    }
    return next;
  }

  /** Standard normal numbers from a uniform generator (Box and Muller). */
  function normals(uniform) {
    let spare = null;
    return () => {
      if (spare !== null) {
        const value = spare;
        spare = null;
        return value;
      }
      const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
      const angle = 2 * Math.PI * uniform();
      spare = radius * Math.sin(angle);
      return radius * Math.cos(angle);
    };
  }

  // ---- Data: section 3 of docs/theory.md. ----

  /**
   * Draw samples. Each feature takes one patch (C_p = 1); patches without a feature are left empty.
   * kind: "multi_view" or "single_view"; classes: labels in turn if "equal", else uniform at random.
   */
  function sampleData(data, count, kind, classes, uniform) {
    const { num_classes: k, num_views: views, num_patches: patches } = data;
    const single = kind === "single_view";
    const between = ([low, high]) => low + (high - low) * uniform();
    const samples = [];
    for (let n = 0; n < count; n++) {
      const label = classes === "equal" ? n % k : Math.floor(uniform() * k);
      const chosen = Math.floor(uniform() * views);
      const own = [];
      const foreign = [];
      for (let j = 0; j < k; j++) {
        for (let view = 0; view < views; view++) {
          const feature = j * views + view;
          if (j === label) {
            const factor = data.view_strengths.length ? data.view_strengths[view] : 1;
            const missing = single && view !== chosen ? data.weak_view_strength : 1;
            own.push({ feature, strength: between(data.label_strength) * factor * missing });
          } else if (uniform() < data.feature_sparsity / k) {
            const interval = single
              ? data.single_view_foreign_ratio.map((r) => r * data.single_view_foreign_strength)
              : data.foreign_strength;
            foreign.push({ feature, strength: between(interval) });
          }
        }
      }
      shuffle(foreign, uniform); // those that find no free patch are dropped at random
      const present = [...own, ...foreign.slice(0, patches - views)];
      while (present.length < patches) present.push({ feature: -1, strength: 0 });
      shuffle(present, uniform);
      samples.push({ label, chosen: single ? chosen : -1, present });
    }
    return packData(samples, patches, single ? data.noise_norm : 0);
  }

  function shuffle(list, uniform) {
    for (let i = list.length - 1; i > 0; i--) {
      const j = Math.floor(uniform() * (i + 1));
      [list[i], list[j]] = [list[j], list[i]];
    }
  }

  /** Samples as typed arrays, with equal weights. */
  function packData(samples, patches, noise) {
    const count = samples.length;
    const packed = {
      count,
      patches,
      labels: new Int32Array(count),
      chosen: new Int32Array(count),
      weights: new Float64Array(count).fill(1 / Math.max(count, 1)),
      feature: new Int32Array(count * patches),
      coefficient: new Float64Array(count * patches),
      noise: new Float64Array(count * patches),
    };
    samples.forEach(({ label, chosen, present }, n) => {
      packed.labels[n] = label;
      packed.chosen[n] = chosen;
      present.forEach(({ feature, strength }, p) => {
        packed.feature[n * patches + p] = feature;
        packed.coefficient[n * patches + p] = strength;
        packed.noise[n * patches + p] = feature >= 0 ? noise : 0;
      });
    });
    return packed;
  }

  /** Two data sets one after the other, the second with a share of the total weight. */
  function joinData(first, second, share) {
    const joined = { count: first.count + second.count, patches: first.patches };
    for (const name of ["labels", "chosen", "weights", "feature", "coefficient", "noise"]) {
      joined[name] = new first[name].constructor(first[name].length + second[name].length);
      joined[name].set(first[name]);
      joined[name].set(second[name], first[name].length);
    }
    for (let n = 0; n < joined.count; n++) joined.weights[n] *= n < first.count ? 1 - share : share;
    return joined;
  }

  /**
   * The training set: multi-view samples without noise, of weight 1 − μ, and N_s single-view samples with noise, of
   * weight μ (`limit_single_view_noise` in Python). Single-view samples carry noise, which is how they are memorised.
   */
  function trainingSet(study) {
    const { data, seed } = study;
    const numSingle = data.num_single_view_train;
    const multi = sampleData(
      data, data.num_train - numSingle, "multi_view", "equal", generator(seed, STREAMS.training, 0));
    const single = sampleData(data, numSingle, "single_view", "random", generator(seed, STREAMS.training, 1));
    return joinData(multi, single, numSingle ? data.single_view_fraction : 0);
  }

  /** Fresh samples of one kind. */
  function testSet(study, kind) {
    const count = kind === "multi_view" ? study.data.num_test_multi_view : study.data.num_test_single_view;
    const stream = generator(study.seed, STREAMS.test, kind === "multi_view" ? 0 : 1);
    return sampleData(study.data, count, kind, "random", stream);
  }

  // ---- The network: section 4. ----

  /** Smoothed ReLU: 0 for x ≤ 0; x^q / (q ϱ^(q−1)) up to ϱ; x − (1 − 1/q) ϱ above. */
  function activation(x, power, threshold) {
    if (x <= 0) return 0;
    if (x >= threshold) return x - (1 - 1 / power) * threshold;
    return Math.pow(x, power) / (power * Math.pow(threshold, power - 1));
  }

  /** Its slope: min(max(x, 0)/ϱ, 1)^(q−1). */
  function activationSlope(x, power, threshold) {
    if (x <= 0) return 0;
    return x >= threshold ? 1 : Math.pow(x / threshold, power - 1);
  }

  /** The patches that can act on a network, in a list: sample, feature, coefficient, noise norm. */
  function usedPatches(samples) {
    const used = [];
    for (let i = 0; i < samples.feature.length; i++) {
      if (samples.coefficient[i] > 0 || samples.noise[i] > 0) used.push(i);
    }
    const list = {
      length: used.length,
      sample: Int32Array.from(used, (i) => Math.floor(i / samples.patches)),
      feature: Int32Array.from(used, (i) => samples.feature[i]),
      coefficient: Float64Array.from(used, (i) => samples.coefficient[i]),
      noise: Float64Array.from(used, (i) => samples.noise[i]),
      noiseRow: new Int32Array(used.length).fill(-1),
      noisy: 0,
      largest: 0,
    };
    for (let i = 0; i < list.length; i++) {
      list.largest = Math.max(list.largest, list.coefficient[i]);
      if (list.noise[i] > 0) list.noiseRow[i] = list.noisy++;
    }
    return list;
  }

  /** What a network is trained on. */
  function makeTask(samples) {
    return { samples, patches: usedPatches(samples) };
  }

  /** A random start: U and A are independent N(0, σ₀²). U is [features, classes, neurons], A [noisy patches, …]. */
  function startNetwork(study, task, stream, index) {
    const { num_classes: k, num_views: views } = study.data;
    const { neurons_per_class: m, init_std: sigma } = study.network;
    const draw = (length, part) => {
      const normal = normals(generator(study.seed, stream, index, part));
      return Float64Array.from({ length }, () => sigma * normal());
    };
    return { U: draw(k * views * k * m, 0), A: draw(task.patches.noisy * k * m, 1), name: stream * 1000 + index };
  }

  /** q, ϱ and sizes of a study, and x^q and x^(q−1) without Math.pow where q is 3 or 4. */
  function shape(study) {
    const { relu_power: power, relu_threshold: threshold, neurons_per_class: m } = study.network;
    const cube = (x) => x * x * x;
    const raise = power === 3 ? cube : power === 4 ? (x) => x * x * x * x : (x) => Math.pow(x, power);
    const raiseLess = power === 3 ? (x) => x * x : power === 4 ? cube : (x) => Math.pow(x, power - 1);
    const inverse = 1 / (power * Math.pow(threshold, power - 1));
    return { power, threshold, k: study.data.num_classes, m, inverse, raise, raiseLess, bend: (1 - 1 / power) * threshold };
  }

  /**
   * Neurons of each (feature, class) by size, for patches without noise. Where all z ⟨w, v⟩ of a neuron stay below ϱ
   * its activation is z^q times ⟨w, v⟩^q, so one sum over these small neurons serves every patch of the feature;
   * large neurons are few and are visited one by one.
   */
  function sortNeurons(network, task, study) {
    const { threshold, k, m, raise } = shape(study);
    const bound = threshold / Math.max(task.patches.largest, 1e-300);
    const groups = network.U.length / m;
    const powerSum = new Float64Array(groups);
    const large = new Int32Array(network.U.length);
    const numLarge = new Int32Array(groups);
    for (let g = 0; g < groups; g++) {
      for (let r = g * m; r < g * m + m; r++) {
        const u = network.U[r];
        if (u <= 0) continue;
        if (u < bound) powerSum[g] += raise(u);
        else large[g * m + numLarge[g]++] = r;
      }
    }
    return { powerSum, large, numLarge, bound, k };
  }

  /** Logits F [samples, classes] = Σ over neurons and patches of act(z U + ν A). */
  function logits(network, task, study, out) {
    const { threshold, k, m, inverse, raise, bend } = shape(study);
    const { patches } = task;
    const { U, A } = network;
    const F = out || new Float64Array(task.samples.count * k);
    F.fill(0);
    const act = (x) => (x <= 0 ? 0 : x >= threshold ? x - bend : raise(x) * inverse);
    const { powerSum, large, numLarge } = sortNeurons(network, task, study);
    for (let i = 0; i < patches.length; i++) {
      const z = patches.coefficient[i];
      const nu = patches.noise[i];
      const group = patches.feature[i] * k;
      const noise = patches.noiseRow[i] * k * m;
      const row = patches.sample[i] * k;
      const scale = raise(z) * inverse;
      for (let c = 0; c < k; c++) {
        const begin = (group + c) * m;
        let sum = 0;
        if (noise < 0) {
          sum = scale * powerSum[group + c];
          for (let j = 0; j < numLarge[group + c]; j++) sum += act(z * U[large[begin + j]]);
        } else {
          for (let r = 0; r < m; r++) sum += act((group < 0 ? 0 : z * U[begin + r]) + nu * A[noise + c * m + r]);
        }
        F[row + c] += sum;
      }
    }
    return F;
  }

  /** One gradient step on (U, A) for a given gradient in the logits: U −= η ∂/∂U, A −= η ∂/∂A. */
  function descend(network, task, study, push, eta) {
    const { threshold, k, m, raise, raiseLess } = shape(study);
    const { patches } = task;
    const { U, A } = network;
    const slope = (x) => (x <= 0 ? 0 : x >= threshold ? 1 : raiseLess(x / threshold));
    const { large, numLarge, bound } = sortNeurons(network, task, study);
    const gradient = new Float64Array(U.length);
    const common = new Float64Array(U.length / m); // Σ over patches of push · z^q, for all small neurons at once
    for (let i = 0; i < patches.length; i++) {
      const z = patches.coefficient[i];
      const nu = patches.noise[i];
      const group = patches.feature[i] * k;
      const noise = patches.noiseRow[i] * k * m;
      const row = patches.sample[i] * k;
      const scale = raise(z);
      for (let c = 0; c < k; c++) {
        const g = push[row + c];
        if (g === 0) continue;
        const begin = (group + c) * m;
        if (noise < 0) {
          common[group + c] += g * scale;
          for (let j = 0; j < numLarge[group + c]; j++) {
            const r = large[begin + j];
            gradient[r] += g * z * slope(z * U[r]);
          }
          continue;
        }
        for (let r = 0; r < m; r++) {
          const a = noise + c * m + r;
          const pull = g * slope((group < 0 ? 0 : z * U[begin + r]) + nu * A[a]);
          if (group >= 0) gradient[begin + r] += pull * z;
          A[a] -= eta * pull * nu; // no other patch reads this entry
        }
      }
    }
    for (let i = 0; i < U.length; i++) {
      const u = U[i];
      if (u > 0 && u < bound) gradient[i] += common[Math.floor(i / m)] * raiseLess(u / threshold);
      U[i] -= eta * gradient[i];
    }
  }

  // ---- Objectives: what each does to the logits (multiview/training/losses.py). ----

  /** softmax(min(F, cap)/T) of one row, written to `out`. */
  function softRow(F, row, k, temperature, cap, out) {
    let top = -Infinity;
    for (let c = 0; c < k; c++) top = Math.max(top, Math.min(F[row + c], cap));
    let sum = 0;
    for (let c = 0; c < k; c++) sum += out[c] = Math.exp((Math.min(F[row + c], cap) - top) / temperature);
    for (let c = 0; c < k; c++) out[c] /= sum;
    return out;
  }

  /** Gradient of the cross-entropy in the logits: w_n (softmax(F) − 1[label]). */
  function crossEntropyPush(F, samples, k, out) {
    const p = new Float64Array(k);
    for (let n = 0; n < samples.count; n++) {
      softRow(F, n * k, k, 1, Infinity, p);
      for (let c = 0; c < k; c++) out[n * k + c] = samples.weights[n] * (p[c] - (c === samples.labels[n] ? 1 : 0));
    }
    return out;
  }

  /** Adds weight · w_n (p − t) 1[F < cap]; `one_sided` keeps the negative part of p − t only. */
  function addDistillationPush(F, teacher, samples, k, distill, out) {
    const p = new Float64Array(k);
    const t = new Float64Array(k);
    const cap = capOf(distill);
    for (let n = 0; n < samples.count; n++) {
      softRow(F, n * k, k, distill.temperature, cap, p);
      softRow(teacher, n * k, k, distill.temperature, cap, t);
      for (let c = 0; c < k; c++) {
        if (F[n * k + c] >= cap) continue;
        const difference = p[c] - t[c];
        if (distill.objective === "one_sided" && difference > 0) continue;
        out[n * k + c] += distill.weight * samples.weights[n] * difference;
      }
    }
    return out;
  }

  const capOf = (distill) => (distill.logit_cap > 0 ? distill.logit_cap : distill.temperature ** 2);

  // ---- Training. ----

  /**
   * One or several networks trained as one model, F = mean of their logits (section 8; one network is the plain case).
   * With K networks each gets 1/K of the push, so the step is K times as long: the model moves at the same speed.
   */
  function makeTrainer(study, task, networks, teacher = null, distill = null) {
    const k = study.data.num_classes;
    const size = task.samples.count * k;
    const own = new Float64Array(size);
    const F = new Float64Array(size);
    const push = new Float64Array(size);
    const trainer = { study, task, networks, steps: 0, F };
    trainer.refresh = () => {
      if (networks.length === 1) return logits(networks[0], task, study, F);
      F.fill(0);
      for (const network of networks) {
        logits(network, task, study, own);
        for (let i = 0; i < size; i++) F[i] += own[i] / networks.length;
      }
      return F;
    };
    trainer.step = () => {
      trainer.refresh();
      crossEntropyPush(F, task.samples, k, push);
      if (teacher && trainer.steps >= distill.onset_step) {
        addDistillationPush(F, teacher, task.samples, k, distill, push);
      }
      for (const network of networks) descend(network, task, study, push, study.train.learning_rate);
      trainer.steps += 1;
    };
    return trainer;
  }

  // ---- Measures. ----

  /** Λ_{i,ℓ} = max over neurons r of the positive part of ⟨w_{i,r}, v_{i,ℓ}⟩, as [classes, views]. */
  function largestOverlaps(network, study, out) {
    const { num_classes: k, num_views: views } = study.data;
    const m = study.network.neurons_per_class;
    const result = out || new Float64Array(k * views);
    for (let i = 0; i < k; i++) {
      for (let view = 0; view < views; view++) {
        const begin = ((i * views + view) * k + i) * m;
        let top = 0;
        for (let r = 0; r < m; r++) top = Math.max(top, network.U[begin + r]);
        result[i * views + view] = top;
      }
    }
    return result;
  }

  /** The largest overlap of a class's neurons with a feature of another class. */
  function largestForeignOverlap(network, study) {
    const { num_classes: k, num_views: views } = study.data;
    const m = study.network.neurons_per_class;
    let top = 0;
    for (let f = 0; f < k * views; f++) {
      for (let i = 0; i < k; i++) {
        if (i === Math.floor(f / views)) continue;
        for (let r = 0; r < m; r++) top = Math.max(top, network.U[(f * k + i) * m + r]);
      }
    }
    return top;
  }

  function best(F, row, k) {
    let top = 0;
    for (let c = 1; c < k; c++) if (F[row + c] > F[row + top]) top = c;
    return top;
  }

  /** Weighted share of wrong samples, and their number. */
  function wrong(F, samples, k) {
    let error = 0;
    let count = 0;
    for (let n = 0; n < samples.count; n++) {
      if (best(F, n * k, k) !== samples.labels[n]) {
        error += samples.weights[n];
        count += 1;
      }
    }
    return { error, count };
  }

  /** Weighted cross-entropy. */
  function loss(F, samples, k) {
    const p = new Float64Array(k);
    let sum = 0;
    for (let n = 0; n < samples.count; n++) {
      softRow(F, n * k, k, 1, Infinity, p);
      sum -= samples.weights[n] * Math.log(Math.max(p[samples.labels[n]], 1e-300));
    }
    return sum;
  }

  /** Fresh samples of both kinds. */
  function makeTests(study) {
    return ["multi_view", "single_view"].map((kind) => ({ ...makeTask(testSet(study, kind)), freshNoise: new Map() }));
  }

  /** A network as it meets fresh noise: its overlaps with that are new random numbers, never trained, drawn once. */
  function withFreshNoise(network, task, study) {
    if (!task.freshNoise.has(network.name)) {
      const normal = normals(generator(study.seed, STREAMS.testNoise, network.name));
      const length = task.patches.noisy * study.data.num_classes * study.network.neurons_per_class;
      task.freshNoise.set(network.name, Float64Array.from({ length }, () => study.network.init_std * normal()));
    }
    return { U: network.U, A: task.freshNoise.get(network.name) };
  }

  /** Logits of a list of networks on test samples, and their mean. */
  function meanLogits(networks, task, study) {
    const F = new Float64Array(task.samples.count * study.data.num_classes);
    for (const network of networks) {
      const own = logits(withFreshNoise(network, task, study), task, study);
      for (let i = 0; i < F.length; i++) F[i] += own[i] / networks.length;
    }
    return F;
  }

  /** Test errors of the mean of some networks: e_m, e_s, and (1 − μ) e_m + μ e_s in units of μ. */
  function testErrors(networks, tests, study) {
    const k = study.data.num_classes;
    const mu = study.data.single_view_fraction;
    const [multi, single] = tests.map((task) => wrong(meanLogits(networks, task, study), task.samples, k).error);
    return { multi, single, inMu: ((1 - mu) * multi + mu * single) / mu };
  }

  return {
    STREAMS, generator, normals, sampleData, packData, joinData, trainingSet, testSet, activation, activationSlope,
    makeTask, startNetwork, logits, descend, softRow, crossEntropyPush, addDistillationPush, makeTrainer,
    largestOverlaps, largestForeignOverlap, best, wrong, loss, makeTests, withFreshNoise, meanLogits, testErrors,
  };
})();

if (typeof module !== "undefined") module.exports = Engine;
