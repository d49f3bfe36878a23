"""The list of experiments, their kept cells, and the page of results that is made from committed JSON."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from multiview.commands.experiments import experiments_in
from multiview.commands.main import main

ROOT = Path(__file__).parent.parent
NAMES = [e.name for e in experiments_in(ROOT / "experiments")]

EXAMPLE = '''
"""Is one half of two one?

Claim: it is.
"""
NAME = "half"
CLAIM = "Half of two is one."
SECONDS = 3
REMARK = """Over
two lines."""
raise RuntimeError("read, not imported")
'''


@pytest.fixture
def common(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    return importlib.import_module("experiments.common")


@pytest.fixture
def publish(common):
    return importlib.import_module("experiments.publish")


def test_experiments_are_listed_without_running_them(empty, capsys):
    """One line each: name, time, last result, claim; files without NAME are no experiments."""
    (empty / "experiments").mkdir()
    (empty / "experiments" / "half.py").write_text(EXAMPLE, encoding="utf-8")
    (empty / "experiments" / "shared.py").write_text("X = 1\n", encoding="utf-8")
    assert main(["experiments"]) == 0
    assert " ".join(capsys.readouterr().out.split()) == "half 3 s not run Half of two is one."
    for folder, date, word in (
        ("docs/figures", "2020-01-01", "fails"),
        ("multiview-results/experiments", "2020-01-02", "holds"),
    ):
        (empty / folder).mkdir(parents=True)
        document = {"date": date, "size": "smoke", "verdicts": [{"verdict": word}] * 2}
        (empty / folder / "half.json").write_text(json.dumps(document), encoding="utf-8")
    assert main(["experiments"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert "2 holds, smoke, 2020-01-02" in line
    (found,) = experiments_in("experiments")
    assert (found.question, found.remark) == ("Is one half of two one?", "Over two lines.")


@pytest.mark.parametrize(
    "document",
    ['{"date": 5, "size": "smoke"}', '{"date": "2020", "verdicts": [3]}', "[]", '{"date": null}', '"a"', "[" * 9000],
)
def test_files_of_others_in_the_folders_of_experiments_are_left_alone(document, empty, capsys):
    """A project of one's own may have such folders, with other things in them."""
    for folder in ("experiments", "docs/figures", "multiview-results/experiments"):
        (empty / folder).mkdir(parents=True)
    module = 'NAME = "x"\nSECONDS = "long"\nREMARK = 5\nCLAIM = 3\n'
    (empty / "experiments" / "own.py").write_text(module, encoding="utf-8")
    (empty / "docs/figures/own.json").write_text(document, encoding="utf-8")
    ours = {"date": "2020-01-02", "size": "smoke", "verdicts": []}
    (empty / "multiview-results/experiments/own.json").write_text(json.dumps(ours), encoding="utf-8")
    assert main(["experiments"]) == 0
    assert capsys.readouterr().out.split()[:2] == ["own", "–"]


def test_without_experiments_there_is_one_clear_line(empty, capsys):
    """Status 2, for a missing folder and for a file that is no Python."""
    assert main(["experiments"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("multiview: error: 'experiments' is no folder here")
    assert error.count("\n") == 1
    (empty / "experiments").mkdir()
    (empty / "experiments" / "bad.py").write_text("def", encoding="utf-8")
    assert main(["experiments"]) == 2
    assert "bad.py cannot be read: SyntaxError" in capsys.readouterr().err


def test_listing_starts_no_jax():
    code = (
        "import sys; from multiview.commands.main import main; main(['experiments']); assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("name", NAMES)
def test_every_experiment_says_what_it_asks_and_claims(name):
    """A question, a claim of one sentence, and the time of its default size."""
    (found,) = [e for e in experiments_in(ROOT / "experiments") if e.name == name]
    assert found.question.endswith(("?", "."))
    assert found.claim.endswith(".")
    assert 0 < found.seconds <= 600


def test_a_stopped_experiment_goes_on_with_its_finished_cells(common, tmp_path):
    """Cells come back as they were; other settings are another cell; seconds count the time of both runs."""
    computed = []

    def measure(smoke):
        def one(label):
            computed.append(label)
            if label == "b" and computed.count("b") == 1:
                raise KeyboardInterrupt
            return {"overlap": xr.DataArray([[1.0, 2.0]], dims=("seed", "view")), "plain": np.ones(2), "n": [1, "x"]}

        settings = {"a": {"of": smoke}, "b": [{"of": smoke}, 1]}  # an object, and a list as experiments pass too
        cells = [common.cell(label, own, lambda label=label: one(label)) for label, own in settings.items()]
        assert cells[0]["overlap"].dims == ("seed", "view")
        assert cells[0]["overlap"].values.tolist() == [[1.0, 2.0]]
        assert cells[0]["plain"].values.tolist() == [1.0, 1.0]
        assert cells[0]["n"] == [1, "x"]
        return {"value": 2.0}

    def draw(document):
        import matplotlib.pyplot as plt

        return plt.figure()

    def verdicts(document):
        return [common.verdict("it is 2", 2.0, document["value"], [1.0, 3.0])]

    with pytest.raises(KeyboardInterrupt):
        common.run("example", True, tmp_path, measure, draw)
    assert not (tmp_path / "example.json").exists()
    document = common.run("example", True, tmp_path, measure, draw, claim="It is.", verdicts=verdicts)
    assert computed == ["a", "b", "b"]
    assert document == json.loads((tmp_path / "example.json").read_text(encoding="utf-8"))
    assert document["verdicts"][0]["verdict"] == "holds"
    common.run("example", False, tmp_path, measure, draw)
    assert computed == ["a", "b", "b", "a", "b"]
    common.run("example", True, tmp_path, measure, draw, fresh=True)
    assert len(computed) == 7
    common.run("example", True, tmp_path, measure, draw)
    assert len(computed) == 7


def test_verdicts(common):
    """Meets, misses on either side, is too wide, is no number."""
    words = [
        common.verdict("", 1.0, 1.1, [0.9, 1.3])["verdict"],
        common.verdict("", [1.0, 2.0], 0.5, [0.4, 0.9])["verdict"],
        common.verdict("", 1.0, 1.2, [1.1, 1.3])["verdict"],
        common.verdict("", 1.0, 1.2, [0.0, 3.0], bearable=1.0)["verdict"],
        common.verdict("", 1.0, float("nan"), [0.0, 1.0])["verdict"],
    ]
    assert words == ["holds", "fails", "fails", "undecided", "undecided"]


def test_the_page_of_results_is_what_its_command_writes(publish):
    """docs/results.md comes from the committed JSON, with failures before everything else."""
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    assert text == publish.page(), "run python -m experiments.publish"
    assert text.index("## What does not agree with the paper") < text.index("## All experiments")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_committed_verdicts_are_those_of_the_committed_numbers(name, common):
    """Judging again changes nothing."""
    path = ROOT / "docs" / "figures" / f"{name}.json"
    if not path.exists():
        pytest.skip("not run at default size yet")
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["verdicts"] == importlib.import_module(f"experiments.{name}").verdicts(document)


def test_only_results_of_default_size_are_published(publish, tmp_path, capsys):
    """A missing result and one of smoke size are refused with one line."""
    for word in ("run python -m experiments.half first", "only the default size is published"):
        with pytest.raises(SystemExit) as stopped:
            publish.main(["half", "--from", str(tmp_path)])
        assert word in str(stopped.value)
        (tmp_path / "half.json").write_text('{"size": "smoke"}', encoding="utf-8")
