"""The house keeps its shape: imports run one way, heavy ones are late, every public name is documented."""

from __future__ import annotations

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

import multiview
from multiview.cli import main
from multiview.config import Study, all_fields, load_preset, preset_names, preset_text

ROOT = Path(multiview.__file__).parent

# A module may import modules of a lower rank only, so imports can never run in a circle.
RANKS = {
    "config": 0,
    "streams": 1, "devices": 1, "memory": 0, "losses": 1, "store": 1, "ensemble": 1,
    "analysis.features": 1, "analysis.errors": 1,
    "theory.power_iteration": 0.6, "theory.mean_field": 0.7, "theory.outcome": 0.8,
    "theory.taught": 0.85, "theory.conditions": 0.9,
    "theory.__init__": 1, "theory": 1,
    "data": 2,
    "representations": 3, "analysis.lottery": 3, "analysis.dark_knowledge": 3,
    "network": 4,
    "augmentation": 4.5, "training": 5,
    "analysis.memorisation": 6, "gradient_flow": 6,
    "batching": 7,
    "distillation": 8, "evaluation": 8,
    "contrasts.linear": 7, "contrasts.descent": 6, "contrasts.average": 7, "contrasts.lazy_dial": 7,
    "contrasts.systems": 9, "contrasts.linearised": 8, "contrasts.random_features": 8,
    "contrasts.boosting": 8, "contrasts.gaussian": 6,
    "prediction": 9,
    "study": 10,
    "analysis.diversity": 11,
    "practice.images": 3, "practice.convolutional": 2,
    "practice.linear": 3, "practice.__init__": 0,
    "claims": 11,
    "results": 12,
    "verification": 13,
    "sweep.design": 1, "sweep.lock": 2, "sweep.plan": 2, "sweep_store": 2, "export": 3, "tables": 2,
    "sweep.block": 13,
    "sweep.executors": 14,
    "sweep.runner": 15,
    "sweep.__init__": 16, "sweep": 16,
    "commands.common": 3, "commands.experiments": 1, "commands.lab": 4, "commands.sweeps": 17, "commands.stores": 17,
    "commands.figures": 17, "lab": 17,
    "web.page": 1, "web.__main__": 2,
    "cli": 18,
    "__main__": 19,
    # Sees stored results, closed forms and measures on stored numbers.
    "plotting.kinds": 2, "plotting.style": 1, "plotting.stored": 1, "plotting.inline": 2, "plotting.mosaic": 3,
    "plotting.errors": 3, "plotting.lottery": 3, "plotting.dynamics": 3, "plotting.sweeps": 3,
    "plotting.ensemble": 4, "plotting.memorisation": 4, "plotting.dark_knowledge": 4, "plotting.animation": 4,
    "plotting.verify": 4, "plotting.report": 5,
    # Hold nothing, or names that are imported on first use.
    "__init__": 0, "analysis.__init__": 0, "plotting.__init__": 0, "web.__init__": 0, "commands.__init__": 0,
    "contrasts.__init__": 0,
}  # fmt: skip


def modules() -> dict[str, Path]:
    return {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in sorted(ROOT.rglob("*.py"))}


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def imported(path: Path) -> set[str]:
    """Modules of the package that a file imports anywhere, functions included (bodies of TYPE_CHECKING are not)."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {a.name.removeprefix("multiview.") for a in node.names if a.name.startswith("multiview.")}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "multiview":
                found |= {a.name for a in node.names if is_module(a.name)}
            elif (node.module or "").startswith("multiview."):
                base = node.module.removeprefix("multiview.")
                inner = {f"{base}.{a.name}" for a in node.names if is_module(f"{base}.{a.name}")}
                found |= inner or {base}
    return found


def test_the_reader_of_imports_sees_each_form(tmp_path):
    """The tests below rest on it."""
    (tmp_path / "a.py").write_text(
        "import multiview.data\nfrom multiview import streams, __version__\n"
        "from multiview.analysis import features as f\n"
        "from multiview.config import Study\ndef g():\n    from multiview.theory import regime\n"
        "if TYPE_CHECKING:\n    from multiview.claims import Claim\n"
    )
    assert imported(tmp_path / "a.py") == {"data", "streams", "analysis.features", "config", "theory"}


@pytest.mark.parametrize("name", modules())
def test_imports_run_one_way(name):
    assert name in RANKS, f"give the new module {name} a rank"
    upward = {other for other in imported(modules()[name]) if RANKS[other] >= RANKS[name]}
    assert not upward


def test_store_sees_the_configuration_alone_and_plotting_stored_results_alone():
    assert imported(ROOT / "store.py") == {"config"}
    for path in (ROOT / "plotting").glob("*.py"):
        seen = {name for name in imported(path) if not name.startswith("plotting.")}
        assert seen <= {"__init__", "config", "theory", "tables", "analysis.errors", "analysis.features"}


@pytest.mark.parametrize("name", [n for n in modules() if n != "cli" and not n.startswith("commands.")])
def test_only_the_command_line_prints_and_draws_progress(name):
    tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print"
        if isinstance(node, ast.Import):
            assert not any(a.name.split(".")[0] in ("rich", "tqdm") for a in node.names)
        if isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in ("rich", "tqdm")


@pytest.mark.parametrize("name", modules())
def test_every_public_name_has_a_docstring(name):
    tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the module"
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    for node in tree.body:
        if not isinstance(node, kinds) or node.name.startswith("_"):
            continue
        assert ast.get_docstring(node), node.name
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, kinds) and not inner.name.startswith("_"):
                    assert ast.get_docstring(inner), f"{node.name}.{inner.name}"


def test_every_parameter_has_a_help_text_and_a_symbol_free_name():
    sections = {"data", "network", "train", "distill", "self_distill"}
    names = all_fields()
    assert {n.partition(".")[0] for n in names if "." in n} == sections
    for name, (field, _) in names.items():
        assert field.metadata["help"], name
        assert name.isascii()


@pytest.mark.parametrize("name", multiview.__all__)
def test_public_names_resolve(name):
    value = getattr(multiview, name)
    assert value is not None
    assert name in dir(multiview)


def test_public_names_are_what_type_checkers_see():
    """The lazy table and the imports under TYPE_CHECKING name the same things, from the same modules."""
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    (guard,) = [n for n in tree.body if isinstance(n, ast.If)]
    seen = {a.name: n.module for n in guard.body for a in n.names}
    assert seen == {name: f"multiview.{module}" for name, module in multiview._PUBLIC.items()}


def test_unknown_names_are_attribute_errors():
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = multiview.no_such_name


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_loads_and_is_listed_and_printed(name, capsys):
    study = load_preset(name)
    assert isinstance(study, Study)
    assert study.preset == name
    assert main(["presets"]) == 0
    lines = capsys.readouterr().out.splitlines()
    (line,) = [x for x in lines if x.split()[0] == name]
    assert len(line.split()) > 3  # says what it is
    assert main(["presets", name]) == 0
    assert capsys.readouterr().out == preset_text(name)


HEAVY = """
import json, sys
from multiview.cli import main
try:
    status = main(sys.argv[1:])
except SystemExit as error:
    status = error.code
print(json.dumps([status, [m for m in ("jax", "matplotlib", "xarray", "scipy", "optax", "rich") if m in sys.modules]]))
"""


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["verify", "--help"],
        ["train", "--help"],
        ["plot", "--help"],
        ["report", "--help"],
        ["animate", "--help"],
        [],
    ],
)
def test_help_is_instant_it_imports_nothing_heavy(words):
    out = subprocess.run([sys.executable, "-c", HEAVY, *words], capture_output=True, text=True, check=True)
    assert json.loads(out.stdout.splitlines()[-1]) == [0, []]
    assert len(out.stdout.splitlines()) > 1


def test_importing_the_package_imports_nothing_heavy():
    heavy = "{'jax', 'numpy', 'matplotlib', 'scipy'}"
    code = f"import multiview, sys; assert not {heavy} & set(sys.modules); print(multiview.__version__)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (out.returncode, out.stdout.strip()) == (0, multiview.__version__), out.stderr


def test_the_version_is_written_once():
    holders = [p for p in modules().values() if "__version__ =" in p.read_text(encoding="utf-8")]
    assert holders == [ROOT / "__init__.py"]
    assert importlib.import_module("multiview").__version__.count(".") == 2
