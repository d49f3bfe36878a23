"""The laboratory: a marimo notebook over the real engine. `multiview lab` opens it.

A change of a slider trains eight networks and shows their race and their errors. All sliders but the power q are
arguments of compiled programs, so that mostly the first result alone waits for the compiler.
"""

import marimo

app = marimo.App(width="medium", app_title="multiview lab")

with app.setup:
    import marimo as mo
    import matplotlib.style
    import numpy as np
    from matplotlib.figure import Figure

    import multiview as mv
    from multiview.studies.outcome import StudyResult, collect
    from multiview.studies.replicate import run_replicate
    from multiview.studies.study import training_tasks

    # So few samples that their rows fit one shape whatever the sliders say: most changes then need no new program.
    SMALL = {
        "replicates": 1,
        "students": 4,
        "train.num_records": 60,
        "data.num_test_multi_view": 300,
        "data.num_test_single_view": 300,
    }
    ROW_MULTIPLE = 64
    LEARNED = 0.5  # a view counts as learned next to a larger one if it is more than this share of it
    NAMES = {
        "single": "single networks",
        "ensemble": "their ensemble",
        "distilled": "students of the ensemble",
        "self_distilled": "self-distilled students",
    }


@app.function
def study_from_sliders(changes: dict) -> mv.Study:
    """The study of the sliders: the preset `explorer` with one training set and small test sets."""
    return mv.replace(mv.load_preset("explorer"), SMALL | changes)


@app.function
def train(study: mv.Study, with_students: bool) -> StudyResult:
    """Train and test; rows are padded, so that other data need no new program."""
    task = training_tasks(study, row_multiple=ROW_MULTIPLE)[0]
    return collect(study, [run_replicate(study, mv.World.of(study), 0, task, distillation=with_students)], None, 0.0)


@app.function
def table(result: StudyResult) -> list[dict]:
    """One row for each kind of network: errors in units of μ, training errors, learned views."""
    mu, rows = result.study.data.single_view_fraction, []
    kinds = {name: group.errors for name, group in result.groups.items()} | result.ensembles
    for name in (n for n in NAMES if n in kinds):
        group, error = result.groups.get(name), kinds[name].in_units_of_mu(mu)
        row = {"network": NAMES[name], "test error / μ": round(float(error.mean()), 3)}
        row["from … to"] = f"{error.min():.3f} … {error.max():.3f}"
        row["with training error 0"] = "–"
        row["classes with every view"] = "–"
        if group is not None:
            final = group.records["largest_overlap"][0, :, -1]
            every = (final > LEARNED * final.max(-1, keepdims=True)).all(-1).mean()
            row["with training error 0"] = f"{int((group.train_wrong == 0).sum())} of {group.train_wrong.size}"
            row["classes with every view"] = f"{every:.0%}"
        rows.append(row)
    return rows


@app.function
def race(result: StudyResult, network: int) -> Figure:
    """Draw the race of each class in one network: Λ of every view on logarithmic axes."""
    group, threshold = result.groups["single"], result.study.network.relu_threshold
    overlap, steps = group.records["largest_overlap"][0, network], np.maximum(group.times, 0.5)
    with matplotlib.style.context("petroff10"):
        figure = Figure(figsize=(9, 3))
        axes = figure.subplots(1, overlap.shape[1], sharex=True, sharey=True)
    figure.subplots_adjust(
        left=0.08, right=0.99, bottom=0.17, top=0.9, wspace=0.08
    )  # found once: a layout takes longer
    for i, ax in enumerate(axes):
        for view in range(overlap.shape[2]):
            values = np.maximum(overlap[:, i, view], 1e-6)
            ax.loglog(steps, values, ("-", "--", ":")[view % 3], color=f"C{view}", label=f"view {view + 1}")
        ax.axhline(threshold, color="0.5", linewidth=0.8)
        ax.set(title=f"class {'ABCDEFGHIJ'[i % 10]}", xlabel="step")
        ax.minorticks_off()
    axes[0].set_ylabel(r"largest overlap $\Lambda$")
    axes[0].legend(fontsize=8)
    return figure


@app.cell
def _():
    mo.md(
        r"""
        # The laboratory

        Eight networks of the multi-view theory, trained by the real engine whenever a slider moves. Grey lines mark
        the threshold $\varrho$. The world is the preset `explorer`: four classes with two views each. The first result
        waits for the compiler, and so does each new power $q$.
        """
    )
    return


@app.cell
def _():
    sliders = mo.ui.dictionary(
        {
            "network.init_std": mo.ui.slider(
                steps=[0.0003, 0.001, 0.003, 0.01, 0.03, 0.1], value=0.001, label="start σ₀", show_value=True
            ),
            "network.relu_threshold": mo.ui.slider(0.25, 2.0, 0.25, value=1.0, label="threshold ϱ", show_value=True),
            "data.single_view_fraction": mo.ui.slider(
                steps=[0.01, 0.02, 0.05, 0.1, 0.2], value=0.05, label="single-view fraction μ", show_value=True
            ),
            "data.weak_view_strength": mo.ui.slider(
                0.0, 1.0, 0.04, value=0.08, label="missing view ρ", show_value=True
            ),
            "data.single_view_foreign_strength": mo.ui.slider(
                0.0, 0.6, 0.04, value=0.28, label="traces in single-view samples Γ", show_value=True
            ),
            "data.feature_sparsity": mo.ui.slider(0.0, 3.2, 0.4, value=1.6, label="traces a sample s", show_value=True),
            "data.noise_norm": mo.ui.slider(0.25, 1.5, 0.25, value=1.0, label="noise ν", show_value=True),
            "train.num_steps": mo.ui.slider(
                steps=[200, 400, 800, 1600, 3200], value=800, label="steps T", show_value=True
            ),
            "seed": mo.ui.slider(0, 99, 1, value=0, label="seed of everything", show_value=True),
        }
    )
    power = mo.ui.dropdown({"2": 2.0, "3": 3.0, "4": 4.0}, value="3", label="power q (compiles anew)")
    shown = mo.ui.slider(1, 8, 1, value=1, label="network shown", show_value=True)
    with_students = mo.ui.checkbox(label="train students too")
    mo.vstack([mo.hstack(list(sliders.values()), wrap=True), mo.hstack([power, shown, with_students], wrap=True)])
    return power, shown, sliders, with_students


@app.cell
def _(power, sliders, with_students):
    changes = dict(sliders.value) | {"network.relu_power": power.value}
    try:
        study, problem = study_from_sliders(changes), ""
    except mv.ConfigError as error:
        study, problem = study_from_sliders({}), f"{error}. The preset is shown instead."
    result = train(study, with_students.value)
    mo.callout(problem, kind="warn") if problem else None
    return (result,)


@app.cell
def _(result, shown):
    race(result, shown.value - 1)
    return


@app.cell
def _(result):
    rows = table(result)
    mo.ui.table(rows, selection=None, show_column_summaries=False, pagination=False)
    return (rows,)


@app.cell
def _(result):
    conditions = mv.check_regime(result.study, distillation="distilled" in result.groups)
    failing = [c for c in conditions if not c.holds]
    lines = [f"- **{c.name}**: {c.statement} ({c.left:.3g} < {c.right:.3g} is false)" for c in failing]
    mo.md(
        "\n".join(["Outside the theory's regime:", "", *lines]) if lines else "All conditions of the theory hold here."
    )
    return


if __name__ == "__main__":
    app.run()
