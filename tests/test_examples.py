"""Every public name has an example in its docstring, and the example runs as it is printed.

Presets are tiny here, and what several examples compute is computed once; no example prints what depends on the size.
"""

from __future__ import annotations

import doctest
import functools
import shutil
from pathlib import Path
from typing import Any

import pytest

import multiview
from multiview.presets import load_preset

NAMES = [name for name in multiview.__all__ if name != "__version__"]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def example_of(name: str) -> doctest.DocTest:
    """The lines of a public docstring that begin with `>>>`."""
    return doctest.DocTestParser().get_doctest(getattr(multiview, name).__doc__ or "", {}, name, None, None)


@pytest.fixture
def computed(monkeypatch, tiny_presets, tiny_result, study_store, sweep_store, empty) -> None:
    """A folder with a store of a study and of a sweep, and the tiny study trained beforehand."""
    run_study, study = multiview.run_study, load_preset("smoke")

    @functools.wraps(run_study)
    def run_once(asked: Any, *arguments: Any, **options: Any) -> Any:
        known = asked == study and not arguments and not options
        return tiny_result._replace(study=study) if known else run_study(asked, *arguments, **options)

    monkeypatch.setattr(multiview, "run_study", run_once, raising=False)
    shutil.copytree(study_store, Path("study.zarr"))
    shutil.copytree(sweep_store, Path("sweep.zarr"))


# Examples that train what no other test trains; tests/test_manners.py runs all of them too.
TRAIN = ("verify", "run_sweep", "Measure", "World", "make_multiview", "logits", "answer_networks", "train_networks")


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in TRAIN else n for n in NAMES])
def test_every_public_name_has_an_example_that_runs(name, computed):
    example = example_of(name)
    assert example.examples, "its docstring has no example"
    complaints: list[str] = []
    doctest.DocTestRunner(optionflags=FLAGS).run(example, out=complaints.append)
    assert not complaints, "".join(complaints)


def test_a_wrong_example_is_found():
    complaints: list[str] = []
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, None)
    doctest.DocTestRunner(optionflags=FLAGS).run(wrong, out=complaints.append)
    assert complaints
