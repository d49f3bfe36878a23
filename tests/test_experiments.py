"""Every experiment runs at its smoke size, writes what it promises, and shows the property that it is about."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow
NAMES = (
    "dense_to_limit", "batch_approximation", "regime_grid", "precision", "gradient_flow", "contrasts", "ensemble_size",
    "ladder", "practice", "practice_mnist", "interventions", "tree_boosting",
)  # fmt: skip


@pytest.fixture(scope="module")
def documents(tmp_path_factory):
    """Runs an experiment at its smoke size, once; gives its JSON document."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))  # experiments are a folder of the repository, not of the package
        common = importlib.import_module("experiments.common")
        folder = tmp_path_factory.mktemp("experiments")

        def document(name: str) -> dict:
            path = folder / f"{name}.json"
            if not path.exists():
                common.run_module(importlib.import_module(f"experiments.{name}"), True, folder)
            picture = (folder / f"{name}.png").read_bytes()
            assert picture.startswith(b"\x89PNG")
            assert len(picture) < 150_000
            return json.loads(path.read_text(encoding="utf-8"))

        yield document


@pytest.mark.release
def test_dense_approaches_the_limit_as_d_grows(documents):
    """The same start gives the same logits, and the trained overlaps differ less at larger d."""
    small, large = documents("dense_to_limit")["dimensions"]
    assert large["patch_dim"] > small["patch_dim"]
    assert max(small["start_logit_difference"], large["start_logit_difference"]) < 1e-3
    assert large["relative_overlap_difference"] < 0.6 * small["relative_overlap_difference"]


@pytest.mark.release
def test_batch_approximation_is_near_the_exact_limit(documents):
    """With a batch that is not tiny, the exact limit's error lies within the noise of a small study."""
    document = documents("batch_approximation")
    reference, row = document["reference"], document["batches"][-1]
    assert reference["multi_view_batch"] is None
    assert 0.2 < reference["single_error"] < 0.6
    assert abs(row["single_error"] - reference["single_error"]) < 0.15


@pytest.mark.release
def test_regime_check_knows_the_clear_cases(documents):
    """The base setting shows theorem 1; without noise nothing is memorised; a weak view above Γ costs no error."""
    rows = {row["setting"]: row for row in documents("regime_grid")["settings"]}
    assert all(row["agree"] for row in rows.values())
    assert rows["base"]["simulation_shows_theorem_1"]
    assert rows["no noise"]["share_of_runs_with_train_error_0"] < 1
    assert rows["weak view not weak (ρ > Γ)"]["e_single_view"] < 0.05


@pytest.mark.release
def test_contrasts_say_which_systems_count(documents):
    """Linearised networks gain from their ensemble, boosting has one round, and each number has its interval."""
    rows = {row["system"]: row for row in documents("contrasts")["systems"]}
    for row in rows.values():
        for name in ("single", "ensemble", "average", "distilled"):
            cell = row[name]
            assert cell is None or cell["interval"][0] <= cell["error"] <= cell["interval"][1]
    ntk = rows["linearised network (NTK)"]
    assert ntk["single"]["counts"]
    assert ntk["ensemble"]["error"] < ntk["single"]["error"]
    assert rows["boosting"]["rounds"] == [1]


def test_the_published_contrast_is_of_a_world_in_which_the_theory_holds():
    """Every condition on networks holds, and the gains of ensemble and distillation have intervals apart."""
    text = (ROOT / "docs" / "figures" / "contrasts.json").read_text(encoding="utf-8")
    document = json.loads(text)
    assert document["failing_conditions"] == []
    network = next(row for row in document["systems"] if row["system"] == "network")
    for name in ("ensemble", "distilled"):
        assert network[name]["counts"]
        assert network[name]["interval"][1] < network["single"]["interval"][0]


@pytest.mark.release
def test_rounding_does_not_choose_the_winner(standard_promotion, documents):
    """Two copies of a network, in single and double precision, end with the same views, and claims agree."""
    document = documents("precision")
    rounding = document["rounding_alone"]
    assert rounding["same_winner"] == 1.0
    assert 0 < rounding["relative_overlap_difference_largest"][-1] < 1e-3
    assert document["different_verdicts"] == []
    assert {row["float64"]["verdict"] for row in document["claims"]} <= {"holds", "fails", "undecided"}


@pytest.mark.bits  # of 24 races, one or two are so near a tie that rounding decides them
@pytest.mark.release
def test_the_flow_learns_the_same_views_with_fewer_evaluations(documents):
    """Nearly all winners are those of gradient descent, for fewer evaluations; a finer tolerance costs more."""
    descent, *others = documents("gradient_flow")["solvers"]
    usual, converged = (row["groups"]["single"] for row in others if "flow" in row["solver"])
    assert descent["groups"]["single"]["evaluations"] == 300
    assert usual["times_fewer"] > 1
    assert usual["same_winner"] >= 0.95
    assert converged["same_winner"] >= 0.95
    assert usual["evaluations"] < converged["evaluations"]


@pytest.mark.release
def test_the_ladder_goes_from_the_same_views_in_all_seeds_to_lots(documents):
    """Linear networks on flat inputs learn both views in every seed; the theory's learn about one of two."""
    document = documents("ladder")
    bottom, top = document["up"]
    assert bottom["views_learned"] == bottom["same_views"] == 1
    assert top["views_learned"] < 0.75
    assert top["same_views"] < 0.9
    assert top["e_single_view_ensemble"] < top["e_single_view_single"]
    assert len(document["verdicts"]) == 8


@pytest.mark.parametrize("name", ["practice", "practice_mnist"])
@pytest.mark.release
def test_practice_measures_all_systems_and_views(standard_promotion, documents, name):
    """Each error lies in its interval, ensembles err no more than their members, correlations are in range."""
    document = documents(name)
    for row in document["systems"]:
        for name in ("single", "ensemble", "average", "distilled", "self_distilled"):
            cell = row[name]
            assert cell is None or cell["interval"][0] <= cell["error"] <= cell["interval"][1] + 1e-9
        assert row["ensemble"]["error"] <= row["single"]["error"] + 0.01
    views = {row["view"]: row for row in document["views"]}
    assert set(views) == {"whole image", "left half", "right half", "both halves"}
    assert views["whole image"]["single"] < views["left half"]["single"]
    assert all(-1 <= c <= 1 for row in views.values() for c in row["error_correlation_by_training_set"])


@pytest.mark.long
@pytest.mark.release
def test_interventions_name_views_and_errors(documents):
    """Descent learns about one view of two; averages of weights err no less than those of outputs."""
    rows = {row["arm"]: row for row in documents("interventions")["arms"]}
    assert 0.5 <= rows["gradient descent"]["views_learned"] <= 0.75
    assert rows["gradient descent"]["averaged_weights"] >= rows["gradient descent"]["ensemble"]
    assert rows["midpoint mixup"]["steps"][0] >= 4 * 300


def test_boosted_trees_have_nothing_left_to_boost(documents):
    """The first model has training error 0, and knows more than one view of two."""
    document = documents("tree_boosting")
    assert document["models_with_train_error_0"] == document["models"] == 2
    assert document["views_learned"] > 0.75
    assert document["ensemble"] <= document["single"]


@pytest.mark.parametrize("name", NAMES)
def test_measured_documents_are_complete_and_name_no_machine(name):
    """The published JSON is of the default size, says what it was measured with, and holds no path."""
    text = (ROOT / "docs" / "figures" / f"{name}.json").read_text(encoding="utf-8")
    document = json.loads(text)
    assert document["experiment"] == name
    assert document["size"] == "default"
    assert {"date", "seconds", "device", "versions"} <= set(document)
    assert not re.search(r"/(home|root|tmp|work|usr)/", text)


def test_the_package_never_imports_experiments():
    """Imports run one way, from the package to the experiments."""
    for path in (ROOT / "multiview").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) experiments", path.read_text(encoding="utf-8"), re.M), path
