"""Shared by all tests: strict JAX settings, a compilation cache, one tiny study that most tests reuse, a browser."""

from __future__ import annotations

import ctypes
import fcntl
import functools
import gc
import importlib.resources
import json
import os
import pickle
import shutil
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jaxtyping
import numpy as np
import pytest
import runtime_types
from hypothesis import HealthCheck, settings
from jax._src import compiler

runtime_types.install()  # before the first import of multiview

settings.register_profile(
    "multiview",
    deadline=None,
    derandomize=True,
    max_examples=200 if os.environ.get("MULTIVIEW_LONG_TESTS") else 20,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("multiview")

# Below this p-value a statistical test fails. Keys are fixed, so a test either always or never fails; the chance that
# a correct generator gets one bad draw out of some hundred checks is then about 1 %.
P_VALUE = 1e-4


def pytest_configure(config: pytest.Config) -> None:
    """Strict promotion, and compiled programs kept between runs (environment, else the user's cache)."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        # Set for subprocesses and the command line too, which would otherwise use the folder of real runs.
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(base / "multiview-tests")
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    # Every program, however small: processes that run tests at the same time compile none twice.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    promote("strict")


def promote(how: str) -> None:
    """Let NumPy's types mix as JAX does by default (standard), or refuse it (strict), in our programs and in tests."""
    from multiview.settings import PINNED

    PINNED["numpy_dtype_promotion"] = how
    jax.config.update("jax_numpy_dtype_promotion", how)


# What takes a third of the time of JAX's own setting: kernels of one operation each, in one part.
QUICK_OPTIONS = {"xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1}


def _with_quick_options(options_of: Callable[..., Any]) -> Callable[..., Any]:
    """Give XLA the options of quick programs, for which JAX has no setting."""

    @functools.wraps(options_of)
    def options(*args: Any, env_options_overrides: dict[str, Any] | None = None, **more: Any) -> Any:
        if jax.config.read("jax_disable_most_optimizations"):
            env_options_overrides = QUICK_OPTIONS | (env_options_overrides or {})
        return options_of(*args, env_options_overrides=env_options_overrides, **more)

    return options


compiler.get_compile_options = _with_quick_options(compiler.get_compile_options)


def compile_quickly(quickly: bool) -> None:
    """Let XLA spend little time on the programs that are compiled from now on, or as much as it does for users."""
    if quickly != jax.config.read("jax_disable_most_optimizations"):
        jax.clear_caches()
        jax.config.update("jax_disable_most_optimizations", quickly)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Compile quickly, for compiling is most of what tests do; but not where bits are compared, or for long runs.

    A quick program adds in another order and has no vectors of numbers, whose remainders are what could make a network
    depend on its neighbours. So tests of bits, marked so, run the programs that users get. Tests marked as long do too,
    for they train for longer than they compile.
    """
    compile_quickly(not {"bits", "long"} & {mark.name for mark in item.iter_markers()})


# The tiny study: every group of networks trains in seconds, and every feature fits (P − L = L (k − 1) patches).
TINY = {
    "seeds": 5,
    "replicates": 2,
    "students": 3,
    "data.num_classes": 4,
    "data.num_patches": 8,
    "data.feature_sparsity": 2.0,
    "data.single_view_fraction": 0.1,
    "data.num_train": 40,
    "data.num_single_view_train": 8,
    "data.representation": "limit_single_view_noise",
    "data.num_test_multi_view": 200,
    "data.num_test_single_view": 200,
    "network.neurons_per_class": 4,
    "network.init_std": 0.02,
    "train.learning_rate": 8.0,
    "train.num_steps": 60,
    "train.num_records": 6,
    "distill.onset_step": 20,
    "distill.num_steps": 20,
    "self_distill.onset_step": 20,
    "self_distill.num_steps": 20,
}


@pytest.fixture(scope="session")
def tiny():
    """The tiny study, noise on single-view samples only."""
    from multiview.config import Study, replace

    return replace(Study(), TINY)


@pytest.fixture(scope="session")
def once(tmp_path_factory) -> Callable[[str, Callable[[Path], Any]], Any]:
    """Makes something in a folder of its own, in whichever process asks first; the other processes read its pickle.

    What quick programs made is not what the programs that users get would have made, so each makes its own.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    def once(name: str, make: Callable[[Path], Any]) -> Any:
        name += "-quick" * jax.config.read("jax_disable_most_optimizations")
        made = folder / f"{name}.pickle"
        with (folder / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not made.exists():
                (folder / name).mkdir()
                made.write_bytes(pickle.dumps(make(folder / name)))
        return pickle.loads(made.read_bytes())

    return once


@pytest.fixture(scope="module")
def tiny_result(tiny, once):
    """Everything that the tiny study measures: singles, ensembles, students."""
    from multiview.studies.study import run_study

    return once("tiny_result", lambda _: run_study(tiny))


@pytest.fixture(scope="module")
def study_store(tiny_result, once) -> Path:
    """The tiny study's store, with its networks."""
    from stores import store_study

    return once("study", lambda folder: store_study(tiny_result, folder))


@pytest.fixture(scope="module")
def sweep_store(once) -> Path:
    """The store of a tiny sweep."""
    from stores import store_sweep

    return once("sweep", store_sweep)


@pytest.fixture(scope="module")
def swept(once, tmp_path_factory) -> Path:
    """A finished sweep of twelve blocks, for one module to open and to go on with."""
    from stores import store_swept

    made = once("swept", store_swept)
    return Path(shutil.copytree(made.parent, tmp_path_factory.mktemp("swept") / "a")) / made.name


@pytest.fixture(scope="module", autouse=True)
def _forget_programs():
    """Compiled programs stay in memory until JAX is told; the next module finds those that it shares on disk."""
    yield
    jax.clear_caches()
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back to the system


@pytest.fixture(scope="session")
def tiny_noisy(tiny):
    """The tiny study in the exact limit, with noise on every patch."""
    from multiview.config import replace

    return replace(
        tiny, {"data.representation": "limit", "data.background_noise_norm": 0.3, "data.single_view_fraction": 0.3}
    )


def toml_of(mapping: dict[str, Any]) -> str:
    """Plain values as TOML, sections last."""
    sections = {n: v for n, v in mapping.items() if isinstance(v, dict)}
    lines = [f"{n} = {json.dumps(v)}" for n, v in mapping.items() if n not in sections]
    return "\n".join([*lines, *(f"[{n}]\n{toml_of(v)}" for n, v in sections.items())])


def tiny_preset(name: str) -> str:
    """The text of a preset in the size of the tiny study."""
    from multiview import config, presets

    # A preset's other choices stay, but for those that a tiny world has no room for.
    study = config.from_mapping({"data": {"representation": "limit_single_view_noise"}})
    text = (importlib.resources.files(presets) / "smoke.toml").read_text(encoding="utf-8")
    mapping = config.to_mapping(config.replace(config.from_mapping(tomllib.loads(text), study), TINY))
    mapping.pop("preset")
    return "# a tiny preset\n" + toml_of(mapping)


@pytest.fixture
def tiny_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every preset in the size of the tiny study."""
    from multiview import presets

    monkeypatch.setattr(presets, "preset_text", tiny_preset)


@pytest.fixture(scope="module")
def task(tiny):
    """The training samples of the tiny study."""
    from multiview.studies.study import training_tasks

    return training_tasks(tiny)[0]


@pytest.fixture
def standard_promotion():
    """For optax's Adam, and for labels beside numbers in double precision."""
    promote("standard")
    yield
    promote("strict")


@pytest.fixture
def flags():
    """The tiny study as command-line flags."""
    return [f"--{name.replace('_', '-')}={value}" for name, value in TINY.items()]


@pytest.fixture
def unchecked():
    """Calls as a user makes them, who may hand in anything: no types are checked but by the program itself."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def random() -> np.random.Generator:
    """Fixed random numbers, the same for every test."""
    return np.random.default_rng(20)


# Pages in headless Chromium. A module that opens some takes BROWSER among its marks.

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
BROWSER = [
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine"),
    # Playwright leaves its own loop's sockets to the collector at the end.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
PHONE = {"width": 390, "height": 800}
DESKTOP = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium."""
    missing = "playwright is not installed; pip install '.[browser]'"
    sync_api = pytest.importorskip("playwright.sync_api", reason=missing)
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Opens pages; at the end nothing may have gone wrong on them, and nothing else may have been asked for."""
    contexts, wrong, asked, opened = [], [], set(), set()

    def open_page(url, **options):
        context = browser.new_context(**{"viewport": DESKTOP, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda m: wrong.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(dialog.message))
        page.on("request", lambda request: asked.add(request.url.partition("#")[0]))
        opened.add(url.partition("#")[0])
        page.goto(url)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []
    assert asked <= opened


def serious_violations(page) -> str:
    """What axe-core finds on a page that was opened with `bypass_csp`, from serious on; empty if nothing."""
    axe = "axe_playwright_python"
    pytest.importorskip(axe, reason="axe-playwright-python is not installed; pip install '.[browser]'")
    page.evaluate((importlib.resources.files(axe) / "axe.min.js").read_text(encoding="utf-8"))
    violations = page.evaluate("axe.run().then((result) => result.violations)")
    serious = [
        (v["id"], [node["html"][:120] for node in v["nodes"][:3]])
        for v in violations
        if v["impact"] in ("serious", "critical")
    ]
    return json.dumps(serious, indent=1) if serious else ""
