/* The two canvas figures: the race of views and the errors over time. Both have step numbers on a log axis. */
"use strict";

const Draw = (() => {
  // Views differ by colour and by dash, so that they can be told apart in grey.
  const DASHES = [[], [7, 4], [2, 3]];

  /** Colours of the current theme, from the style sheet's variables. */
  function palette() {
    const style = getComputedStyle(document.documentElement);
    const read = (name) => style.getPropertyValue(name).trim();
    return {
      text: read("--text"), quiet: read("--quiet"), line: read("--line"), panel: read("--panel"),
      views: [read("--view-1"), read("--view-2"), read("--view-3")], test: read("--test"), train: read("--train"),
    };
  }

  /** A canvas cleared and scaled for the screen's pixels; returns its context and size in CSS pixels. */
  function begin(canvas, height) {
    const width = canvas.clientWidth;
    const ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.style.height = `${height}px`;
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.font = "12px system-ui, sans-serif";
    context.lineJoin = "round";
    return { context, width };
  }

  const stepLabel = (step) => (step >= 1000 ? `${step / 1000}k` : String(step));

  /** The frame of a plot with decades below; returns the function from step to x. */
  function stepAxis(context, box, last, colors, words) {
    const top = Math.log10(Math.max(last, 10));
    const x = (step) => box.left + (box.width * Math.log10(Math.max(step, 1))) / top;
    context.strokeStyle = colors.line;
    context.lineWidth = 1;
    context.setLineDash([]);
    context.strokeRect(box.left + 0.5, box.top + 0.5, box.width, box.height);
    context.fillStyle = colors.quiet;
    context.textBaseline = "top";
    for (let decade = 0; decade <= top; decade++) {
      const at = x(10 ** decade);
      context.textAlign = decade === 0 ? "left" : at > box.left + box.width - 14 ? "right" : "center";
      context.fillText(stepLabel(10 ** decade), at, box.top + box.height + 4);
    }
    if (words) {
      context.textAlign = "right";
      context.fillText(words, box.left + box.width, box.top + box.height + 18);
    }
    return x;
  }

  function path(context, xs, ys) {
    context.beginPath();
    xs.forEach((x, i) => (i ? context.lineTo(x, ys[i]) : context.moveTo(x, ys[i])));
    context.stroke();
  }

  /** Λ of each view, one small plot a class, on log-log axes. `onset` marks where a teacher set in. */
  function race(canvas, { record, classes, views, threshold, sigma, last, onset, names }) {
    const columns = canvas.clientWidth >= 900 ? classes : 2;
    const rows = Math.ceil(classes / columns);
    const each = columns > 2 ? 210 : 168;
    const { context, width } = begin(canvas, rows * each + 4);
    const colors = palette();
    const low = Math.log10(sigma * 0.2);
    const high = Math.log10(Math.max(40, 8 * threshold));
    for (let i = 0; i < classes; i++) {
      const cell = width / columns;
      const box = { left: (i % columns) * cell + 34, top: Math.floor(i / columns) * each + 22, width: cell - 44, height: each - 56 };
      const x = stepAxis(context, box, last, colors, i === classes - 1 ? "step (log)" : "");
      const y = (value) => box.top + box.height * (1 - (Math.log10(Math.max(value, 10 ** low)) - low) / (high - low));
      context.textAlign = "right";
      context.textBaseline = "middle";
      for (let decade = Math.ceil(low); decade <= high; decade++) {
        context.fillStyle = colors.quiet;
        if (Math.abs(y(10 ** decade) - y(threshold)) > 9) {
          context.fillText(decade < -2 ? `10${superscript(decade)}` : String(10 ** decade), box.left - 4, y(10 ** decade));
        }
      }
      context.strokeStyle = colors.quiet;
      context.setLineDash([3, 3]);
      path(context, [box.left, box.left + box.width], [y(threshold), y(threshold)]);
      if (onset) path(context, [x(onset), x(onset)], [box.top, box.top + box.height]);
      context.setLineDash([]);
      context.fillStyle = colors.text;
      context.fillText("ϱ", box.left - 6, y(threshold));
      context.textAlign = "left";
      context.textBaseline = "alphabetic";
      context.font = "600 13px system-ui, sans-serif";
      context.fillText(`Class ${names[i]}`, box.left, box.top - 7);
      context.font = "12px system-ui, sans-serif";
      if (!record || !record.steps.length) continue;
      for (let view = 0; view < views; view++) {
        context.strokeStyle = colors.views[view];
        context.lineWidth = 2.5;
        context.setLineDash(DASHES[view]);
        path(context, record.steps.map(x), record.overlaps.map((o) => y(o[i * views + view])));
      }
      context.setLineDash([]);
      const now = record.overlaps[record.overlaps.length - 1];
      const learned = [];
      for (let view = 0; view < views; view++) if (now[i * views + view] >= threshold) learned.push(view + 1);
      context.fillStyle = colors.text;
      context.textAlign = "right";
      const words = learned.length ? `has ${learned.map((v) => names[i] + v).join(", ")}` : "has no view";
      context.fillText(words, box.left + box.width, box.top - 7);
    }
  }

  const superscript = (number) => String(number).replace("-", "⁻").replace(/\d/g, (d) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[d]);

  /** Training and test error in units of μ; values above the frame are drawn at its top. */
  function curves(canvas, { record, last, onset }) {
    const height = 220;
    const { context, width } = begin(canvas, height);
    const colors = palette();
    const box = { left: 34, top: 12, width: width - 46, height: height - 52 };
    const x = stepAxis(context, box, last, colors, "step (log)");
    const y = (value) => box.top + box.height * (1 - Math.min(value, 1.2) / 1.2);
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.setLineDash([2, 4]);
    context.strokeStyle = colors.line;
    for (const [value, words] of [[0, "0"], [0.25, "¼"], [0.5, "½"], [1, "1"]]) {
      context.fillStyle = colors.quiet;
      context.fillText(words, box.left - 6, y(value));
      path(context, [box.left, box.left + box.width], [y(value), y(value)]);
    }
    if (onset) {
      context.strokeStyle = colors.quiet;
      context.setLineDash([3, 3]);
      path(context, [x(onset), x(onset)], [box.top, box.top + box.height]);
    }
    if (!record || !record.steps.length) return;
    for (const [name, color, dash] of [["trainError", colors.train, [7, 4]], ["testError", colors.test, []]]) {
      context.strokeStyle = color;
      context.lineWidth = 2.5;
      context.setLineDash(dash);
      path(context, record.steps.map(x), record[name].map(y));
    }
    context.setLineDash([]);
  }

  return { race, curves };
})();
