"""What does the approximation `limit_single_view_noise` cost, and how does that fall with the multi-view batch?

Claim (docs/theory.md, section 7): for small μ, N = N_s/μ samples may be replaced by their N_s single-view samples with
noise and a batch of M multi-view samples without; the error of this falls with M. Here N_s and μ are fixed, M varies,
and the reference is the exact limit with N samples, all of them with noise. Compared are single networks, classes
that learn both views, and the ensemble, which suffers when the batch favours one view in all networks at once.

Run it with `python -m experiments.batch_approximation`; it takes about a minute on one core.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments import common, networks
from experiments.view_strength import winning_share
from multiview import replace, run_study
from multiview.config import Study, from_mapping, to_mapping
from multiview.measures.errors import error_interval, hierarchical_bootstrap
from multiview.measures.features import winners
from multiview.studies.outcome import StudyResult, start_and_final_overlaps

NAME = "batch_approximation"
CLAIM = "N samples may be replaced by their single-view ones with noise and M without; the error of this falls with M."
SECONDS = 60
REMARK = """Single networks look right down to M = 12, the ensemble does not: a small batch favours one view of a class
in all networks at once, and the ensemble lacks the other. The effect is gone, within the intervals, from M = 80 on. How
much networks agree follows from the batch alone: from the lottery between views whose moments are those of M/k drawn
samples and of the class's single-view samples (dotted; derived after the run, nothing fitted)."""

# Wider label strengths than in the presets: with narrow ones all samples are alike and M cannot matter.
SETTING = common.SMALL | {"data.label_strength": [1.0, 1.7], "train.num_steps": 300, "replicates": 6}
BATCHES = (12, 40, 80, 160, 320)
SMOKE = networks.TINY | {"replicates": 2, "data.single_view_fraction": 0.06}  # the exact limit has 200 samples
SMOKE_BATCHES = (60,)


def same_view_share(result: StudyResult) -> np.ndarray:
    """By class: how far networks of one training set agree on the view, max share of one view minus what chance gives.

    Returns:
        Array [R, k]: 0 as for fair coins, 1/2 if all networks learn the same one of two views.
    """
    winner, _ = winners(start_and_final_overlaps(result, "single")[1])  # [R, S, k]
    seeds = winner.shape[1]
    coins = np.random.default_rng(0).binomial(seeds, 0.5, 20000) / seeds
    share = winner.mean(1)
    return np.maximum(share, 1 - share) - np.maximum(coins, 1 - coins).mean()


def expected_excess(study: Study, batch: int) -> float:
    r"""What `same_view_share` is expected to be from the samples of a batch of M alone, nothing fitted.

    View ℓ of a class has $S_\ell = \frac{1-\mu}{M} \sum_n z_{n\ell}^q$ over its M/k multi-view samples, and
    $\mu/N_s$ times $z^q$, or $(\rho z)^q$, from each of its single-view samples. By the lottery view 2 wins with the
    probability of `view_strength.winning_share` at strengths $(S_2/S_1)^{1/q}$; of S networks a binomial number does.
    """
    data, q, rng = study.data, study.network.relu_power, np.random.default_rng(0)
    draws, mu, k = 2000, data.single_view_fraction, data.num_classes
    low, high = data.label_strength
    moments = (1 - mu) / batch * (rng.uniform(low, high, (draws, max(batch // k, 1), 2)) ** q).sum(1)
    singles = rng.binomial(data.num_single_view_train, 1 / k, draws)
    for index in range(singles.max()):
        here = (index < singles)[:, None] * mu / data.num_single_view_train
        shown = np.eye(2)[rng.integers(0, 2, draws)]
        strength = rng.uniform(low, high, (draws, 2)) * np.where(shown > 0, 1.0, data.weak_view_strength)
        moments = moments + here * strength**q
    ratio = (moments[:, 1] / moments[:, 0]) ** (1 / q)
    chance = winning_share(ratio, q / (q - 2), study.network.neurons_per_class)
    second = rng.binomial(study.seeds, chance) / study.seeds
    coins = rng.binomial(study.seeds, 0.5, 20000) / study.seeds
    return float(np.maximum(second, 1 - second).mean() - np.maximum(coins, 1 - coins).mean())


def examine(study: Study, label: str) -> dict[str, Any]:
    """One study: errors in units of μ with intervals, and what its networks learned."""
    result = run_study(study, distillation=False)
    group, mu = result.groups["single"], study.data.single_view_fraction
    counts, ensemble = group.errors, result.ensembles["ensemble"]
    _, clear = winners(start_and_final_overlaps(result, "single")[1])
    agreement = same_view_share(result)
    row = {
        "multi_view_batch": study.data.num_train - study.data.num_single_view_train if label != "exact" else None,
        "single_error": common.rounded(counts.in_units_of_mu(mu).mean()),
        "single_error_interval": common.rounded(error_interval(counts, mu)),
        "e_single_view": common.rounded(counts.single_view.mean() / counts.num_single_view),
        "e_multi_view": common.rounded(counts.multi_view.mean() / counts.num_multi_view),
        "ensemble_error": common.rounded(ensemble.in_units_of_mu(mu).mean()),
        "ensemble_error_interval": common.rounded(error_interval(ensemble, mu)),
        "classes_with_both_views": common.rounded(1 - clear.mean()),
        "classes_with_both_views_interval": common.rounded(hierarchical_bootstrap(1.0 - clear.mean(-1))),
        "same_view_excess": common.rounded(agreement.mean()),
        "same_view_excess_interval": common.rounded(hierarchical_bootstrap(agreement)),
        "share_of_runs_with_train_error_0": common.rounded((group.train_wrong == 0).mean()),
        "seconds": round(result.seconds, 1),
    }
    common.say(f"{label}: single {row['single_error']}, ensemble {row['ensemble_error']}")
    return row


def measure(smoke: bool) -> dict[str, Any]:
    """All batch sizes, and the exact limit."""
    study = replace(Study(), SETTING | (SMOKE if smoke else {}))
    single = study.data.num_single_view_train
    exact = {"data.representation": "limit", "data.num_train": round(single / study.data.single_view_fraction)}
    points = {"exact": exact} | {
        f"M = {m}": {"data.num_train": m + single} for m in (SMOKE_BATCHES if smoke else BATCHES)
    }
    reference, *rows = (
        common.cell(label, point, partial(examine, point, label))
        for label, point in ((label, replace(study, changes)) for label, changes in points.items())
    )
    return {
        "study": to_mapping(study),
        "samples_of_the_exact_limit": exact["data.num_train"],
        "reference": reference,
        "batches": rows,
        "outside_the_interval_of_the_reference": [
            r["multi_view_batch"]
            for r in rows
            if r["single_error_interval"][0] > reference["single_error_interval"][1]
            or r["single_error_interval"][1] < reference["single_error_interval"][0]
        ],
    }


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """How agreement falls with M; errors of single networks and the ensemble against the exact limit's, at each M."""
    study, rows = from_mapping(document["study"]), document["batches"]
    law = np.array([expected_excess(study, r["multi_view_batch"]) for r in rows])
    values, ends = [r["same_view_excess"] for r in rows], [r["same_view_excess_interval"] for r in rows]
    weights = 1 / np.diff(ends, axis=1)[:, 0] ** 2
    factor = common.from_intervals(values, ends, lambda v: float((weights * v * law).sum() / (weights * law**2).sum()))
    words = "networks' excess agreement on a view, in units of what the batch's strengths and views give (factor fitted"
    fit = common.verdict(f"{words} over M)", 1.0, *factor, bearable=1.0)
    names = {"single_error": "single networks", "ensemble_error": "the ensemble"}
    return [fit] + [
        common.verdict(
            f"error of {words} with a batch of M = {r['multi_view_batch']}, in units of μ",
            document["reference"][f"{name}_interval"], r[name], r[f"{name}_interval"],
        )
        for name, words in names.items()
        for r in document["batches"]
    ]  # fmt: skip


def draw(document: dict[str, Any]) -> Figure:
    """Four panels over M, each with the exact limit as a band."""
    rows, reference = document["batches"], document["reference"]
    batch = np.array([r["multi_view_batch"] for r in rows], float)
    figure, axes = plt.subplots(1, 4, figsize=(15, 3.8), layout=common.AIRY)
    panels = (
        ("single_error", "test error in units of μ", "Single networks"),
        ("classes_with_both_views", "share of classes", "Both views learned"),
        ("same_view_excess", "excess over fair coins", "Networks agree on the view"),
        ("ensemble_error", "test error in units of μ", "Ensemble"),
    )
    for ax, (name, label, title) in zip(axes, panels, strict=True):
        ax.axhspan(*reference[f"{name}_interval"], color="C1", alpha=0.25, linewidth=0)
        ax.axhline(reference[name], color="C1", linestyle="--",
                   label=f"exact limit, N = {document['samples_of_the_exact_limit']}")  # fmt: skip
        common.against(ax, batch, rows, name, label="approximation")
        if name == "same_view_excess":
            study = from_mapping(document["study"])
            law = [expected_excess(study, int(m)) for m in batch]
            ax.plot(batch, law, ":", color="C2", label="from the batch's samples alone")
            ax.legend(fontsize=8)
        ax.set(xlabel="multi-view batch M", ylabel=label, title=title)
    axes[0].legend(fontsize=8, loc="best")
    return figure


if __name__ == "__main__":
    common.command(sys.modules[__name__])
