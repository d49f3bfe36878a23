"""Files at random: a user's own arrays, paths of outputs, damaged stores; and the making of any input by its number."""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import shutil
import stat
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import any_inputs
import numpy as np
from any_inputs import OVER, TINY, Input, configuration, damaged, flags, word

import multiview
from multiview.figures.kinds import KINDS
from multiview.presets import load_preset

# Arrays of a user's own files.


def _other(chance: random.Random, array: np.ndarray) -> np.ndarray:
    """An array with another type, shape or value."""
    if array.ndim == 0:
        return array[None]
    what = 1 if array.dtype.names or array.dtype.kind in "USM" else chance.randrange(4)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if what == 0:
            kinds = ("f2", "f8", "i1", "u8", "i8", "?", "c8", "U5", "S3", "M8[s]", "f4,i4", ">f4")
            return array.astype(chance.choice(kinds))
        if what == 1:
            return chance.choice(
                (array[..., :-1], array[:0], array[None], array.ravel(), array.T, np.float32(1)[None][0], array[::2])
            )
        number = chance.choice((math.nan, math.inf, -1, -0.0, 1e39, 1e300, 2**40, -(2**31), 5e-324, 1e5))
        changed = array.astype(np.float64 if what == 2 and isinstance(number, float) else array.dtype)
        if changed.size:
            with contextlib.suppress(OverflowError, ValueError):
                changed.flat[chance.randrange(changed.size)] = number
        return changed


def own_arrays(chance: random.Random, templates: Path) -> Callable[[Path], Input]:
    """A user's own data and teacher, with arrays that are not as they should be."""

    def make(folder: Path) -> Input:
        given = []
        for flag, name in (("data", chance.choice(("own", "patches"))), ("teacher", "teacher")):
            if chance.random() < 0.3 and (flag == "data" or given):
                continue
            arrays = dict(np.load(templates / f"{name}.npz"))
            for _ in range(chance.choice((0, 1, 1, 2))):
                changed = chance.choice(sorted(arrays))
                arrays[changed] = _other(chance, np.asarray(arrays[changed]))
                if chance.random() < 0.15:
                    del arrays[changed]
                if not arrays:
                    arrays = {"": np.ones(3)}
            path = folder / f"{flag}.npz"
            np.savez(path, **{n or "x": a for n, a in arrays.items()})
            if chance.random() < 0.05:
                np.save(path.with_suffix(".npy"), np.array([{}], object), allow_pickle=True)
                path.with_suffix(".npy").rename(path)
            path.write_bytes(damaged(chance, path.read_bytes(), 0.15))
            elsewhere = ("folder", "nowhere.npz", "", "notes.txt", "/dev/null", "loop")
            given.append(f"--{flag}={chance.choice((path.name,) * 12 + elsewhere)}")
        sizes = {**TINY, "data.representation": chance.choice(("dense", "dense", "limit"))}
        sizes |= configuration(chance, 0.1, 30) if chance.random() < 0.2 else {}
        command = chance.choice((["train", "--out=new.zarr"], ["verify", "--out=new"]))
        named = ("data", "teacher", *given, *(g.partition("=")[2] for g in given))
        return Input([*command, "--preset=smoke", *flags(sizes), *given], tuple(filter(None, named)))

    return make


# Paths.


def surroundings(folder: Path) -> None:
    """What lies in a user's folder already."""
    (folder / "folder" / "inner").mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    (folder / "old.json").write_text("{}")
    (folder / "old.json").chmod(0o640)
    (folder / "folder" / "old.png").write_bytes(b"mine too")
    (folder / "link").symlink_to("notes.txt")
    (folder / "linked").symlink_to("folder")
    (folder / "dangling").symlink_to("nowhere/at/all")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "pipe")
    with contextlib.suppress(OSError):  # devices are made by root alone
        os.mknod(folder / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))


def path(chance: random.Random, ending: str) -> str:
    """Any path of an output."""
    plain = (
        f"new{ending}", f"deep/er/new{ending}", f"linked/new{ending}", f"~/new{ending}", f"../beside{ending}",
        f"ü η{ending}", f"new\nline{ending}", f" {ending}", f"$HOME{ending}", f"a:b{ending}",
        f"[bold]{ending}",
    )  # fmt: skip
    strange = (
        "folder", "folder/", "folder/inner", "notes.txt", f"notes.txt/under{ending}", "link", "linked",
        "dangling", "loop", f"loop/a{ending}", "null", "/dev/null", "/dev/full", "/dev/zero/a",
        "/proc/nothing", f"/proc/self/new{ending}", "", "-", ".", "..", "/", "~", "~nobody-at-all/a",
        f"s3://bucket/a{ending}", "file:///tmp/a", f"http://h/a{ending}", f"c:/a{ending}", "n" * 300 + ending,
        "d/" * 3000 + "a", f"a\0b{ending}", f"\udcff{ending}", "new", f"new{ending.upper()}", "new.tar",
        "old.json", "folder/old.png", "study.zarr", "study.zarr/zarr.json", "/dev/fd/99", f"new{ending}/",
    )  # fmt: skip
    return chance.choice(plain if chance.random() < 0.35 else strange)


def outputs(chance: random.Random, templates: Path) -> Callable[[Path], Input]:
    """Any path as what a command writes."""

    def make(folder: Path) -> Input:
        study = ["--preset=smoke", *flags(TINY)]
        command, ending = chance.choice((
            (["init", "smoke"], ".toml"), (["generate", *study], ".npz"),
            (["generate", *study, "--no-vectors"], ".npz"), (["train", *study], ".zarr"), (["verify", *study], ""),
            (["verify", *study, "--out=pictures"], ".json"),
            (["sweep", *study, "--over=seed=0,1", "--dry-run"], ".zarr"), (["export", "study.zarr"], ".npz"),
            (["export", "study.zarr", "--to=csv"], ".csv"), (["export", "study.zarr", "--to=netcdf"], ".nc"),
            (["plot", "study.zarr", "--kind=errors"], chance.choice((".png", ".svg", ".pdf"))),
        ))  # fmt: skip
        flag = "--json" if ending == ".json" else "--out"
        out = path(chance, ending)
        if "study.zarr" in (*command, out.partition("/")[0]):
            shutil.copytree(templates / "study.zarr", folder / "study.zarr")
        return Input([*command, f"{flag}={out}"], (flag, "store", "study.zarr"), (out,))

    return make


# Stores.


def _wrong(chance: random.Random, found: Any) -> Any:
    """A JSON document with one node that is not as it was."""
    if isinstance(found, dict) and found and chance.random() < 0.85:
        name = chance.choice(sorted(found))
        if chance.random() < 0.2:
            return {n: v for n, v in found.items() if n != name}
        return {**found, name: _wrong(chance, found[name])}
    if isinstance(found, list) and found and chance.random() < 0.7:
        place = chance.randrange(len(found))
        return [*found[:place], _wrong(chance, found[place]), *found[place + 1 :]]
    if isinstance(found, str) and found.startswith(("{", "[")) and chance.random() < 0.8:
        with contextlib.suppress(ValueError):
            return json.dumps(_wrong(chance, json.loads(found)))
    return chance.choice((None, True, 0, -1, 3, 10**30, 1.5, "", "x", "{}", [], {}, [0], {"a": 1}, "float32", "1\n2"))


def stores(chance: random.Random, templates: Path) -> Callable[[Path], Input]:
    """A store in which something is wrong, or none."""

    def make(folder: Path) -> Input:
        kind = chance.choice(("study", "grid"))
        store = shutil.copytree(templates / f"{kind}.zarr", folder / "store.zarr")
        for _ in range(chance.choice((0, 1, 1, 2))):
            files = sorted(p for p in store.rglob("*") if p.is_file())
            documents = [p for p in files if p.name == "zarr.json"]
            file = chance.choice((store / "zarr.json", chance.choice(documents or files), chance.choice(files)))
            if not file.is_file():
                continue
            if file.name == "zarr.json" and chance.random() < 0.7:
                with contextlib.suppress(ValueError):
                    file.write_text(json.dumps(_wrong(chance, json.loads(file.read_bytes()))))
                    continue
            content = file.read_bytes()
            file.unlink()
            if chance.random() < 0.7:
                file.write_bytes(damaged(chance, content))
            elif chance.random() < 0.5:
                chance.choice((file.mkdir, lambda: file.symlink_to(file.name)))()  # noqa: B023  # called at once
        name = chance.choice(
            ("store.zarr",) * 14
            + ("store.zarr/", "folder", "notes.txt", "nowhere", "", "loop", "a\0b", "n" * 300, "/dev/null")
        )
        measure = [f"--measure={word(chance)}"] if chance.random() < 0.1 else []
        by = [f"--by={word(chance)}"] if chance.random() < 0.1 else []
        group = chance.choice(("single", "distilled", word(chance)))
        commands: list[tuple[list[str], tuple[str, ...]]] = [
            (["show", name], ()), (["check", name], ()), (["ls", name], ()),
            (["check", name, "--repair"], ("store.zarr",)),
            (["table", name, f"--format={chance.choice(('text', 'csv', 'latex', 'markdown'))}", *measure, *by], ()),
            (["export", name, "--out=new.npz", f"--network={chance.choice((0, 1, 99, word(chance)))}"], ("new.npz",)),
            (["export", name, "--to=csv", "--out=new.csv", f"--group={group}"], ("new.csv",)),
            (["plot", name, f"--kind={chance.choice(list(KINDS))}", "--out=new.png", *measure, *by], ("new.png",)),
            (["sweep", "--preset=smoke", *flags(TINY), "--over", *OVER, f"--out={name}", "--dry-run"], ()),
        ]  # fmt: skip
        if chance.random() < 0.05:
            commands = [(["report", name, "--out=new.html"], ("new.html",))]
        words, writes = chance.choice(commands)
        # A study has no table, a sweep no networks; a figure may be of the other.
        named = (
            "store",
            "zarr",
            "--by",
            "--measure",
            "--group",
            "--network",
            "--kind",
            "--out",
            "measure",
            "group",
            "figure",
            "folder",
        )
        return Input(words, (*named, *((name,) if name else ())), writes)

    return make


STUDY = multiview.replace(load_preset("smoke"), TINY)


def make_arrays(folder: Path) -> None:
    """Make the files that inputs start from: own data, a teacher."""
    dense = multiview.replace(STUDY, {"data.representation": "dense"})
    world = multiview.World.of(dense)
    data = world.train()
    multiview.save_dataset(folder / "own.npz", data, world.features)
    np.savez(folder / "patches.npz", patches=data.patches, labels=data.labels, features=world.features)
    np.savez(folder / "teacher.npz", logits=np.zeros((data.num_samples, dense.data.num_classes), np.float32))


def make_templates(folder: Path) -> Path:
    """Make the files and the stores, a study and a sweep, that inputs start from."""
    make_arrays(folder)
    multiview.write_store(folder / "study.zarr", multiview.to_datatree(multiview.run_study(STUDY), networks=True))
    multiview.run_sweep(STUDY, dict(word.split("=") for word in OVER), folder / "grid.zarr")
    (folder / "grid.zarr.events.jsonl").unlink()
    return folder


def make_input(kind: str, number: int, seed: int, templates: Path, folder: Path) -> Input:
    """Make an input by its kind and number: its files in `folder`, and its command line."""
    chance = random.Random(f"{seed} {kind} {number}")
    make: dict[str, Callable[[Path], Input]] = {
        "flags": lambda folder: any_inputs.by_flags(chance, folder),
        "toml": lambda folder: any_inputs.by_file(chance, folder),
        "axes": lambda folder: any_inputs.by_axes(chance, folder),
        "arrays": own_arrays(chance, templates),
        "paths": outputs(chance, templates),
        "stores": stores(chance, templates),
        "trained": lambda folder: any_inputs.trained(chance, folder),
    }
    surroundings(folder)
    return make[kind](folder)
