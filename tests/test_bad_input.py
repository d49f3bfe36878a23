"""Bad input: one line that names the field, its value and what is allowed; exit status 2; nothing written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from multiview.commands.main import main
from multiview.config import replace
from multiview.parameters import ConfigError
from multiview.presets import load_preset
from multiview.stores.lock import reserved
from multiview.studies.students import load_teacher
from multiview.studies.study import run_study


@pytest.fixture(autouse=True)
def no_work(monkeypatch):
    """Bad input is refused before any work: where work begins all the same, fail at once instead of working."""
    import multiview.studies.study
    import multiview.verdicts.prediction
    import multiview.verdicts.verification

    def begun(*_, **__):
        raise AssertionError("work began")

    for module, name in [
        (multiview.verdicts.prediction, "predict_study"),
        (multiview.studies.study, "run_study"),
        (multiview.verdicts.verification, "verify"),
    ]:
        monkeypatch.setattr(module, name, begun)


def refused(words: list[str], capsys: pytest.CaptureFixture[str], folder: Path, *named: str) -> str:
    """Run the command; check the form of the complaint and that `named` is in it; give the complaint."""
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("*")}
    status = main(words)
    captured = capsys.readouterr()
    assert status == 2
    lines = captured.err.splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("multiview: error: ")
    for word in named:
        assert word in lines[0]
    assert {p: p.stat().st_mtime_ns for p in folder.rglob("*")} == before
    return lines[0]


# A study that is accepted as it stands (last test of this kind below), whatever becomes of the presets.
BASE = [
    "--preset=smoke",
    "--data.num-classes=12",
    "--data.num-views=2",
    "--data.num-patches=24",
    "--data.feature-sparsity=5",
    "--data.num-train=140",
    "--data.num-single-view-train=20",
    "--data.representation=limit_single_view_noise",
]

# Flag, its field and value as named in the complaint, and words of what is allowed.
BAD = [
    ("--data.num-classes=3.5", "data.num_classes", "3.5", "whole number"),
    ("--data.num-classes=ten", "data.num_classes", "ten", "whole number"),
    ("--data.num-classes=1", "data.num_classes", "1", "≥ 2"),
    ("--data.num-classes=", "data.num_classes", "''", "whole number"),
    ("--data.num-views=0", "data.num_views", "0", "≥ 1"),
    ("--network.relu-power=0.5", "network.relu_power", "0.5", "≥ 1"),
    ("--network.relu-threshold=0", "network.relu_threshold", "0", "> 0"),
    ("--network.relu-threshold=-1", "network.relu_threshold", "-1", "> 0"),
    ("--network.init-std=0", "network.init_std", "0", "> 0"),
    ("--network.neurons-per-class=0", "network.neurons_per_class", "0", "≥ 1"),
    ("--data.num-patches=1", "data.num_patches", "1", "≥ num_views"),
    ("--data.num-patches=4", "data.num_patches", "4", "more features than patches"),
    ("--data.single-view-fraction=1.5", "data.single_view_fraction", "1.5", "[0, 1]"),
    ("--data.single-view-fraction=-0.1", "data.single_view_fraction", "-0.1", "[0, 1]"),
    ("--data.noise-norm=-1", "data.noise_norm", "-1", "≥ 0"),
    ("--data.background-noise-norm=-0.5", "data.background_noise_norm", "-0.5", "≥ 0"),
    ("--data.feature-noise=-0.5", "data.feature_noise", "-0.5", "≥ 0"),
    ("--data.noise-norm=nan", "data.noise_norm", "nan", "number"),
    ("--data.noise-norm=inf", "data.noise_norm", "inf", "finite"),
    ("--train.learning-rate=-inf", "train.learning_rate", "-inf", "finite"),
    ("--train.learning-rate=nan", "train.learning_rate", "nan", "number"),
    ("--train.learning-rate=0", "train.learning_rate", "0", "> 0"),
    ("--seeds=0", "seeds", "0", "≥ 1"),
    ("--replicates=0", "replicates", "0", "≥ 1"),
    ("--students=-2", "students", "-2", "≥ 1"),
    ("--seed=-1", "seed", "-1", "0 …"),
    ("--seed=4294967296", "seed", "4294967296", "2³²"),
    ("--train.num-steps=0", "train.num_steps", "0", "≥ 1"),
    ("--data.label-strength=2,1", "data.label_strength", "2", "low ≤ high"),
    ("--data.label-strength=1", "data.label_strength", "1", "low,high"),
    ("--data.label-strength=1,2,3", "data.label_strength", "1,2,3", "low,high"),
    ("--data.label-strength=1,x", "data.label_strength", "1,x", "number"),
    ("--data.foreign-strength=-1,1", "data.foreign_strength", "-1", "0 ≤ low"),
    ("--data.foreign-strength=nan,1", "data.foreign_strength", "nan", "number"),
    ("--data.foreign-strength=0.1,inf", "data.foreign_strength", "inf", "finite"),
    ("--data.view-strengths=1,1,1", "data.view_strengths", "1", "2 numbers"),
    ("--data.view-strengths=1,0", "data.view_strengths", "0", "> 0"),
    ("--data.feature-sparsity=13", "data.feature_sparsity", "13", "num_classes"),
    ("--data.representation=sparse", "data.representation", "sparse", "dense, limit"),
    ("--data.patch-split=even", "data.patch_split", "even", "equal, random"),
    ("--distill.objective=mse", "distill.objective", "mse", "one_sided"),
    ("--distill.temperature=0", "distill.temperature", "0", "> 0"),
    ("--distill.logit-cap=-1", "distill.logit_cap", "-1", "≥ 0"),
    ("--self-distill.generations=0", "self_distill.generations", "0", "≥ 1"),
    ("--train.batch-size=-1", "train.batch_size", "-1", "≥ 0"),
    ("--train.batch-size=100000", "train.batch_size", "100000", "num_train"),
    ("--train.momentum=1", "train.momentum", "1", "[0, 1)"),
    ("--train.weight-decay=-1", "train.weight_decay", "-1", "≥ 0"),
    ("--train.weight-decay=inf", "train.weight_decay", "inf", "finite"),
    ("--train.label-smoothing=nan", "train.label_smoothing", "nan", "number"),
    ("--train.label-smoothing=1", "train.label_smoothing", "1", "[0, 1)"),
    ("--train.dropped-patches=-0.1", "train.dropped_patches", "-0.1", "[0, 1)"),
    ("--train.mixup=half", "train.mixup", "half", "none, uniform, midpoint"),
    ("--train.optimizer=gradient", "train.optimizer", "gradient", "optax"),
    ("--train.optimizer=_sgd", "train.optimizer", "_sgd", "optax"),
    ("--train.optimizer=apply_updates", "train.optimizer", "apply_updates", "optax"),
    ("--train.optimizer=scale", "train.optimizer", "scale", "adamw"),  # climbs
    ("--train.optimizer=clip", "train.optimizer", "clip", "adamw"),  # climbs too
    ("--train.optimizer=freeze", "train.optimizer", "freeze", "adamw"),
    ("--train.optimizer=adam(b3=0.8)", "train.optimizer", "adam(b3=0.8)", "b1 (float), b2"),
    ("--train.optimizer=adam(b1)", "train.optimizer", "adam(b1)", "adam(b1=0.8"),
    ("--train.optimizer=adam(learning_rate=1)", "train.optimizer", "learning_rate", "b1 (float), b2"),
    ("--train.optimizer=sgd(momentum=0.9)", "train.optimizer", "sgd(momentum=0.9)", "no arguments"),
    ("--train.optimizer=galore(rank=2.5)", "train.optimizer", "galore(rank=2.5)", "rank (int)"),
    ("--train.optimizer=adam(b1=1e999)", "train.optimizer", "adam(b1=1e999)", "adam(b1=0.8"),
    ("--train.optimizer=lbfgs", "train.optimizer", "lbfgs", "gradient"),  # needs the loss
    ("--train.optimizer=momo", "train.optimizer", "momo", "gradient"),  # likewise, of optax.contrib
    ("--train.weight-decay=0.1 --train.optimizer=adam", "train.weight_decay", "0.1", "train.optimizer = 'adam'"),
    ("--train.dtype=float16", "train.dtype", "float16", "float32, float64"),
    ("--data.num-single-view-train=140", "data.num_single_view_train", "140", "num_train"),
    ("--preset=nobody", "preset", "nobody", "reference"),
]  # fmt: skip


@pytest.mark.parametrize(("flag", "field", "value", "allowed"), BAD, ids=[b[0] for b in BAD])
def test_a_bad_value_is_one_line_with_field_value_and_what_is_allowed(flag, field, value, allowed, capsys, empty):
    refused(["verify", *BASE, *flag.split()], capsys, empty, field, value, allowed)


@pytest.mark.parametrize("command", [["train", "--out=new"], ["generate", "--out=new.npz"], ["regime"]])
def test_every_command_refuses_alike(command, capsys, empty):
    refused([*command, "--seeds=0"], capsys, empty, "seeds = 0", "≥ 1")
    refused([*command, "--data.noise-norm", "nan"], capsys, empty, "data.noise_norm", "nan", "number")


@pytest.mark.parametrize("form", [["--data.num-clases=7"], ["--data.num-clases", "7"]])
def test_an_unknown_field_is_named_with_its_value_and_the_nearest_one(form, capsys, empty):
    refused(["verify", *form], capsys, empty, "data.num_clases", "7", "data.num_classes")


@pytest.mark.parametrize("words", [["nonsense"], ["verify", "nonsense"], ["verify", "--seeds"], ["train"], ["export"]])
def test_words_that_are_not_understood(words, capsys, empty):
    refused(words, capsys, empty)


def test_too_small_a_dimension_for_dense_vectors(capsys, empty):
    refused(
        ["verify", *BASE, "--data.representation=dense", "--data.patch-dim=23"],
        capsys, empty, "data.patch_dim", "23", "24",
    )  # fmt: skip
    refused(
        ["generate", *BASE, "--out=a.npz", "--data.patch-dim=23"],
        capsys,
        empty,
        "data.patch_dim",
        "23",
        "24",
    )


@pytest.mark.parametrize("samples", ["0", "-3", "2.5", "many", "nan"])
def test_a_bad_number_of_samples(samples, capsys, empty):
    refused(["generate", "--preset=smoke", "--out=a.npz", f"--samples={samples}"], capsys, empty, "samples", samples)


def test_no_unit_of_error(capsys, empty):
    refused(
        ["verify", "--preset=smoke", "--data.single-view-fraction=0"], capsys, empty, "data.single_view_fraction", "> 0"
    )


TOML = {
    "does not parse": ("data = [", "TOML"),
    "unknown key": ("[data]\nnum_clases = 7", "data.num_classes"),
    "unknown value key": ("sedes = 7", "seeds"),
    "unknown table": ("[world]\nnum_classes = 7", "world"),
    "unknown empty table": ("[world]", "world"),
    "table too deep": ("[data.more]\nnum_classes = 7", "data.more"),
    "value for a table": ("data = 7", "data"),
    "table for a value": ("[seeds]\na = 7", "seeds"),
    "unknown preset": ('preset = "nobody"', "nobody"),
    "preset is no name": ("preset = 7", "preset"),
    "whole number too fine": ("[data]\nnum_classes = 3.5", "data.num_classes"),
    "truth for a number": ("seeds = true", "seeds"),
    "text for a number list": ('[data]\nlabel_strength = "1"', "data.label_strength"),
    "list of text": ('[data]\nlabel_strength = ["a", "b"]', "data.label_strength"),
    "number for a list": ("[data]\nlabel_strength = 1.0", "data.label_strength"),
    "not a number": ("[data]\nnoise_norm = nan", "data.noise_norm"),
    "infinite": ("[data]\nnoise_norm = inf", "data.noise_norm"),
    "date": ("seeds = 1979-05-27", "seeds"),
    "huge": ("[data]\nnoise_norm = 1" + "0" * 400, "data.noise_norm"),
    "low above high": ("[data]\nlabel_strength = [2, 1]", "data.label_strength"),
    "number for a name": ("[train]\noptimizer = 5", "train.optimizer"),
}


@pytest.mark.parametrize("case", TOML)
def test_bad_configuration_files(case, capsys, empty):
    text, named = TOML[case]
    (empty / "study.toml").write_text(text)
    refused(["verify", "--config=study.toml"], capsys, empty, named)


def test_configuration_files_that_cannot_be_read(capsys, empty):
    refused(["verify", "--config=nowhere.toml"], capsys, empty, "nowhere.toml")
    (empty / "folder").mkdir()
    refused(["verify", "--config=folder"], capsys, empty, "folder")
    (empty / "bytes.toml").write_bytes(b"\xff\xfe\x00")
    refused(["verify", "--config=bytes.toml"], capsys, empty, "bytes.toml")
    (empty / "good.toml").write_text("seeds = 3")
    refused(["verify", "--config=good.toml", "--preset=smoke"], capsys, empty, "--preset", "--config")


def test_an_output_that_cannot_be_written(capsys, empty):
    (empty / "file").write_text("in the way")
    refused(["verify", "--preset=smoke", "--out=file"], capsys, empty, "--out", "file")
    refused(["verify", "--preset=smoke", "--out=file/deeper"], capsys, empty, "--out", "file")
    refused(["train", "--preset=smoke", "--out=file/store"], capsys, empty, "--out", "file")
    refused(["generate", "--preset=smoke", "--out=file/data.npz"], capsys, empty, "--out", "file")
    refused(["verify", "--preset=smoke", "--json=file/a.json"], capsys, empty, "--json", "file")


def test_an_output_that_is_an_input_or_another_output(capsys, empty):
    (empty / "own.npz").write_bytes(b"")
    (empty / "study.toml").write_text("seeds = 2")
    (empty / "store").mkdir()
    (empty / "store" / "zarr.json").write_text("{}")
    refused(
        ["verify", "--preset=smoke", "--out=d", "--json=d/verify-smoke.png"], capsys, empty, "--json", "another file"
    )
    refused(["verify", "--preset=smoke", "--data=own.npz", "--json=own.npz"], capsys, empty, "--json", "own.npz")
    refused(["verify", "--preset=smoke", "--teacher=own.npz", "--json=own.npz"], capsys, empty, "--json", "own.npz")
    refused(["verify", "--config=study.toml", "--json=study.toml"], capsys, empty, "--json", "study.toml")
    refused(["export", "store", "--out=store/zarr.json"], capsys, empty, "--out", "another file")
    refused(["plot", "store", "--kind=dynamics", "--out=store/a.png"], capsys, empty, "--out", "another file")
    refused(["report", "store", "--out=store/a.html"], capsys, empty, "--out", "another file")
    refused(["animate", "store", "--out=store/a.gif"], capsys, empty, "--out", "another file")


def test_an_output_that_exists(capsys, empty):
    (empty / "store").mkdir()
    (empty / "data.npz").write_bytes(b"")
    refused(["train", "--preset=smoke", "--out=store"], capsys, empty, "--out", "store", "exists")
    refused(["generate", "--preset=smoke", "--out=data.npz"], capsys, empty, "--out", "data.npz", "exists")


@pytest.mark.parametrize("command", [["verify"], ["train", "--out=new"]])
@pytest.mark.parametrize("what", ["--data", "--teacher"])
@pytest.mark.parametrize("content", ["missing", "text", "cut", "empty"])
def test_broken_npz(command, what, content, capsys, empty):
    path = empty / "broken.npz"
    if content == "text":
        path.write_text("no archive")
    if content == "empty":
        path.write_bytes(b"")
    if content == "cut":
        np.savez(path, labels=np.arange(100), logits=np.zeros((100, 3)))
        path.write_bytes(path.read_bytes()[:300])
    refused([*command, "--preset=smoke", f"{what}=broken.npz"], capsys, empty, "broken.npz")


def test_own_data_with_a_class_too_many(capsys, empty):
    np.savez(empty / "own.npz", labels=np.array([0, 12]), patches=np.zeros((2, 3, 30)))
    refused(["verify", *BASE, "--data.representation=dense", "--data=own.npz"], capsys, empty, "own.npz", "12", "0…11")


@pytest.mark.parametrize(
    "logits",
    [np.zeros((3, 2)), np.full((4, 2), np.nan), np.full((4, 2), 1e39), np.full((4, 2), "x"), np.zeros(8)],
)
def test_own_teacher_that_does_not_fit(logits, tmp_path):
    np.savez(tmp_path / "teacher.npz", logits=logits)
    with pytest.raises(ConfigError, match=r"teacher.npz.*\[4, 2\]"):
        load_teacher(str(tmp_path / "teacher.npz"), 4, 2)


def test_probabilities_in_the_place_of_a_teachers_logits_are_refused(tiny, tmp_path):
    """From a file and from Python; 0 and 1 for the labels are probabilities too."""
    shares = np.random.default_rng(0).dirichlet(np.ones(4), 40)
    for teacher in (shares, np.eye(4)[np.arange(40) % 4]):
        np.savez(tmp_path / "teacher.npz", logits=teacher)
        with pytest.raises(ConfigError, match=r"teacher.npz: logits are probabilities.*logarithms"):
            load_teacher(str(tmp_path / "teacher.npz"), 40, 4)
        with pytest.raises(ConfigError, match="teacher_logits: logits are probabilities"):
            run_study(tiny, teacher_logits=teacher)
    with pytest.raises(ConfigError, match=r"teacher_logits: .*\[40, 4\]"):
        run_study(tiny, teacher_logits=shares[:3])
    np.savez(tmp_path / "teacher.npz", logits=np.log(shares))
    assert load_teacher(str(tmp_path / "teacher.npz"), 40, 4).shape == (40, 4)


@pytest.mark.parametrize("command", [["generate", "--samples=4"], ["init", "smoke"], ["lab", "--export"]])
def test_an_output_that_another_process_writes_is_refused_before_the_work(command, empty, capsys):
    if command[0] == "lab":
        pytest.importorskip("marimo")
    words = [*command, "a.html"] if command[0] == "lab" else [*command, "--out=a.html"]
    with reserved(empty / "a.html"):
        refused(words, capsys, empty, "a.html is being written by process")
    assert [path.name for path in empty.iterdir()] == []


def test_export_of_what_is_not_there(capsys, empty):
    refused(["export", "nowhere", "--out=a.npz"], capsys, empty, "nowhere")
    refused(["export", "nowhere", "--out=a.npz", "--replicate=x"], capsys, empty, "replicate", "'x'")
    refused(["export", "nowhere", "--out=a.npz", "--network=1.5"], capsys, empty, "network", "1.5")


def test_the_examples_above_are_refused_for_what_is_wrong_with_them():
    """The presets themselves are accepted, and the good neighbours of some bad values."""
    study = replace(load_preset("smoke"), {w[2:].split("=")[0].replace("-", "_"): w.split("=")[1] for w in BASE[1:]})
    good = {
        "network.relu_power": "1",
        "data.single_view_fraction": "1",
        "data.noise_norm": "0",
        "distill.logit_cap": "inf",
        "data.label_strength": "1,1",
        "train.optimizer": "adam",
        "seed": "4294967295",
    }
    for name, value in good.items():
        assert replace(study, {name: value}) != study
