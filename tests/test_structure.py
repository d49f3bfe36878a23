"""The house keeps its shape: imports run one way, heavy ones are late, every public name is documented."""

from __future__ import annotations

import ast
import graphlib
import importlib
import json
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

import multiview
from multiview.commands.main import main
from multiview.config import Study
from multiview.presets import load_preset, preset_names, preset_text

ROOT = Path(multiview.__file__).parent

# The one way down: a room may import from rooms above it and from its own, never from one below. Inside a room imports
# form no circle.
ORDER = (
    "__init__", "machine", "parameters", "systems.table", "config", "streams", "settings", "files", "words", "presets",
    "world", "network", "theory", "measures", "training", "multirate", "systems", "studies", "stores", "verdicts",
    "sweeps", "figures", "web", "commands", "__main__",
)  # fmt: skip


def room(name: str) -> str:
    """The folder of a module; the table of systems is names alone, and stands above the configuration that reads it."""
    return name if name in ORDER else name.partition(".")[0]


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
        "import multiview.world.samples\nfrom multiview import streams, __version__\n"
        "from multiview.measures import features as f\n"
        "from multiview.config import Study\ndef g():\n    from multiview.theory import check_regime\n"
        "if TYPE_CHECKING:\n    from multiview.verdicts.claims import Claim\n"
    )
    assert imported(tmp_path / "a.py") == {"world.samples", "streams", "measures.features", "config", "theory"}


@pytest.mark.parametrize("name", modules())
def test_imports_run_one_way(name):
    assert room(name) in ORDER, f"give the new room {room(name)} its place in ORDER"
    here = ORDER.index(room(name))
    assert not {other for other in imported(modules()[name]) if ORDER.index(room(other)) > here}


def test_imports_form_no_circle():
    graph = {name: imported(path) - {name} for name, path in modules().items()}
    list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError, which names the circle


def test_the_root_holds_few_modules():
    assert len(list(ROOT.glob("*.py"))) <= 8


def test_the_map_of_rooms_is_complete_and_in_order():
    page = (ROOT.parent / "docs" / "design.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \|", page, re.MULTILINE)
    assert tuple(rows) == tuple(name for name in ORDER if not name.startswith("__"))


def test_predictions_borrow_from_no_simulation():
    for path in (ROOT / "theory").glob("*.py"):
        seen = {name if room(name) == "network" else room(name) for name in imported(path)} - {"theory"}
        assert seen <= {"parameters", "config", "network.activation"}


def test_figures_are_made_from_stored_results_alone():
    for path in (ROOT / "figures").glob("*.py"):
        seen = {name if room(name) == "network" else room(name) for name in imported(path)} - {"figures"}
        formulas = {"theory", "measures", "network.activation"}
        assert seen <= {"__init__", "machine", "parameters", "config", "presets", "words", "stores"} | formulas


@pytest.mark.parametrize("name", [n for n in modules() if room(n) != "commands"])
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


@pytest.mark.parametrize("name", multiview.__all__)
def test_public_names_resolve(name):
    value = getattr(multiview, name)
    assert value is not None
    assert name in dir(multiview)


def test_public_names_are_what_type_checkers_see():
    """Names are read at run time from the lines that type checkers read: none is overlooked."""
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    guard = next(n for n in tree.body if isinstance(n, ast.If))
    assert {a.asname: n.module for n in guard.body for a in n.names} == multiview._PUBLIC
    assert multiview.__all__ == ["__version__", *sorted(multiview._PUBLIC)]


JOURNEY = Path(__file__).parent / "journey.py"
WRONG = """
import multiview as mv

mv.load_presets("smoke")
result = mv.run_study("smoke")
result.group
"""


@pytest.mark.slow
def test_public_names_are_enough_for_what_users_do(empty):
    """Sample, train, test, record an own measure, sweep, summarise, draw: the program asserts what it gets."""
    source = JOURNEY.read_text(encoding="utf-8")
    assert re.findall("^(?:import|from) multiview.*", source, re.MULTILINE) == ["import multiview as mv"]
    runpy.run_path(str(JOURNEY))


@pytest.mark.slow
def test_a_type_checker_finds_wrong_use_of_public_names_and_nothing_else(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text(WRONG.lstrip())
    words = ["--strict", "--follow-imports=silent", f"--cache-dir={ROOT.parent / '.mypy_cache' / 'users'}"]
    files = [str(JOURNEY), str(wrong)]
    command = [sys.executable, "-m", "mypy", *words, *files]
    out = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT.parent)
    errors = [line.rpartition("/")[2] for line in out.stdout.splitlines() if "error:" in line]
    assert errors == [
        'wrong.py:3: error: Module has no attribute "load_presets"; maybe "load_preset"?  [attr-defined]',
        'wrong.py:4: error: Argument 1 to "run_study" has incompatible type "str"; expected "Study"  [arg-type]',
        'wrong.py:5: error: "StudyResult" has no attribute "group"  [attr-defined]',
    ], out.stdout


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
from multiview.commands.main import main
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
