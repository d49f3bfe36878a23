"""Inputs at random, as nobody would choose them: words, files, stores, paths, each with its command line.

Every input follows from a seed and its own number, so that one that was found is had again by its number alone.
"""

from __future__ import annotations

import contextlib
import json
import math
import random
import typing
from pathlib import Path
from typing import Any, NamedTuple

from multiview.config import all_fields
from multiview.sweeps.draws import DRAWS

TINY = {
    "data.num_classes": 3, "data.num_patches": 6, "data.feature_sparsity": 1.0, "data.num_train": 12,
    "data.num_single_view_train": 3, "data.num_test_multi_view": 20, "data.num_test_single_view": 20,
    "data.single_view_fraction": 0.25, "data.patch_dim": 8, "network.neurons_per_class": 2, "network.init_std": 0.1,
    "train.num_steps": 3, "train.num_records": 3, "distill.onset_step": 1, "distill.num_steps": 2,
    "self_distill.onset_step": 1, "self_distill.num_steps": 2, "seeds": 2, "replicates": 1, "students": 1,
}  # fmt: skip

NUMBERS = (
    0, 1, -1, 2, 3, 7, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53 + 1, 2**63, 10**30, 10**400, 10**5000, 0.0,
    -0.0, 0.5, 0.99999, 1.0000001, 5e-324, 1e-308, 1e-45, 1e-15, 1e15, 1e30, 1e39, 1e300,
    1.7976931348623157e308, math.inf, -math.inf, math.nan,
)  # fmt: skip
WORDS = (
    "", " ", "nan", "-inf", "1e999", "0x10", "1_0", "+3", "-0", "1e3", "True", "None", "dense", "one_sided",
    "٣", "…", "η", "🎲", "a\0b", "\n", "1\n2", "\udcff", "1,2", "2,1", "[1,1.5]", "(1 1.5)", "[[1]]", "1,,2",
    "nan,1", "0,inf", "x" * 5000, "9" * 5000, "%s", "{}", "[bold]", "\x1b[31m", "--seeds", "-", "../..",
)  # fmt: skip
ENCODINGS = (*("utf-8",) * 12, *("utf-8-sig",) * 3, "utf-16", "utf-32-be", "latin-1", "cp037")


class Input(NamedTuple):
    """One input.

    Attributes:
        words: the command line.
        named: what a refusal may name; one of them must stand in its line. Parameters always may.
        writes: paths that the command may write, if it ends well.
    """

    words: list[str]
    named: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


def word(chance: random.Random) -> str:
    """Any word: a number as text, or what stands in nobody's manual."""
    if chance.random() < 0.4:
        with contextlib.suppress(ValueError):  # Python writes no more than 4300 digits
            return str(chance.choice(NUMBERS))
    return chance.choice(WORDS)


def value(chance: random.Random, name: str, most: float = math.inf) -> Any:
    """A value of the parameter's type out of its whole range, wherever sizes stay below `most`."""
    kind = all_fields()[name][1]
    if typing.get_origin(kind) is typing.Literal:
        return chance.choice(typing.get_args(kind))
    if kind is int:
        return int(10 ** chance.uniform(0, math.log10(min(most, 1e9)))) - chance.choice((0, 0, 0, 1))
    if kind is float:
        drawn = (
            10 ** chance.uniform(-3, 2),
            10 ** chance.uniform(-320, 308),
            chance.random(),
            chance.choice((0.0, 1.0)),
        )
        return chance.choice(drawn)
    if kind is str:
        allowed = all_fields()[name][0].metadata["allowed"].rpartition(": ")[2].removeprefix("one of ").split(", ")
        return chance.choice(allowed)
    return sorted(chance.choice((chance.random(), 10 ** chance.uniform(-30, 30))) for _ in range(2))


def configuration(chance: random.Random, strange: float = 0.3, most: float = math.inf) -> dict[str, Any]:
    """Some parameters with values, of which the share `strange` are of any kind."""
    names = chance.sample([n for n in all_fields() if n != "preset"], chance.choice((1, 1, 2, 3, 5)))
    return {n: word(chance) if chance.random() < strange else value(chance, n, most) for n in names}


def flags(fields: dict[str, Any]) -> list[str]:
    """Parameters as flags."""
    words = {n: ",".join(map(str, v)) if isinstance(v, list) else str(v) for n, v in fields.items()}
    return [f"--{n.replace('_', '-')}={w}" for n, w in words.items()]


def _looked_at(chance: random.Random, study: list[str]) -> list[str]:
    """A command that looks at a study and computes nothing."""
    return chance.choice((["regime", *study], ["sweep", *study, "--over", "seed=0,1", "--out=new.zarr", "--dry-run"]))


def by_flags(chance: random.Random, folder: Path) -> Input:
    """Parameters as flags, over any preset."""
    preset = chance.choice(("smoke", "smoke", "reference", "explorer", "dense", word(chance)))
    return Input(_looked_at(chance, [f"--preset={preset}", *flags(configuration(chance))]), ("preset",))


def _toml(chance: random.Random, found: Any) -> str:
    if isinstance(found, str):
        return chance.choice((json.dumps(found), json.dumps(found, ensure_ascii=False), f"'{found}'", found))
    if isinstance(found, list):
        return "[" + ", ".join(map(str, found)) + "]"
    return "1" + "0" * 5000 if found == 10**5000 else str(found).lower()


def by_file(chance: random.Random, folder: Path) -> Input:
    """Parameters in a TOML file, with any value, in any encoding, whole or not."""
    strange = (
        "1979-05-27",
        "true",
        '"1"',
        "[[1], 2]",
        "{a = 1}",
        "[]",
        "0x1F",
        "1__0",
        '"""\n"""',
        "07:32:00",
        "-nan",
        "[" * 3000,
    )
    lines = ['preset = "smoke"'] if chance.random() < 0.7 else []
    sections: dict[str, list[str]] = {}
    for name, found in configuration(chance).items():
        section, _, leaf = name.rpartition(".")
        text = chance.choice((*NUMBERS, *strange)) if chance.random() < 0.2 else found
        line = f"{leaf} = {text if text in strange else _toml(chance, text)}"
        sections.setdefault(section, []).append(line)
    lines += sections.pop("", [])
    for section, inner in sections.items():
        lines += [f"[{section}]", *inner]
    if chance.random() < 0.2:
        lines.insert(
            chance.randrange(len(lines) + 1),
            chance.choice(("[world]", "seeds = 3", "[data.more]", "\0", "a.b = 1", "# ü", "=")),
        )
    text = chance.choice(("\n", "\n", "\r\n", "\r")).join(lines)
    content = damaged(chance, text.encode(chance.choice(ENCODINGS), "replace"), 0.15)
    (folder / "study.toml").write_bytes(content)
    name = chance.choice(
        ("study.toml",) * 12 + ("link", "folder", "nowhere.toml", "", "~", "loop", "n" * 300, "/dev/null", "a\0b")
    )
    return Input(_looked_at(chance, [f"--config={name}"]), ("--config", "preset"))


def damaged(chance: random.Random, content: bytes, share: float = 1.0) -> bytes:
    """A file's content as it may be found: cut, with other bytes, empty, of another kind."""
    if chance.random() >= share or not content:
        return content
    place = chance.randrange(len(content))
    return chance.choice((
        content[:place],
        content[:place] + bytes([chance.randrange(256)]) + content[place + 1 :],
        content[:place] + bytes(8) + content[place + 8 :],
        content[:place] + content[: chance.randrange(60)] + content[place:],
        b"",
        bytes(64),
        b"\xff\xfe" + content,
        chance.randbytes(200),
    ))  # fmt: skip


def by_axes(chance: random.Random, folder: Path) -> Input:
    """Axes of a sweep: lists, ranges, designs, in and out of their grammar."""

    def axis() -> str:
        name = chance.choice((*all_fields(), "data.noise_std", "nothing", ""))
        parts = [str(value(chance, name, 30)) if name in all_fields() else "1" for _ in range(chance.choice((1, 2, 3)))]
        parts = [word(chance) if chance.random() < 0.15 else p.strip("[]") for p in parts]
        low, high = (
            str(chance.choice(NUMBERS[:14] + NUMBERS[15:])) if chance.random() < 0.4 else str(w) for w in (1, 9)
        )
        ranges = (
            f"{low}:{high}:{chance.choice((2, 5, 0, 10**7, 'x'))}",
            f"{low}:{high}",
            f"{low}:{high}:4:log",
            f"{low}:{high}:log",
        )
        return f"{name}={chance.choice((','.join(parts), ','.join(parts), *ranges))}"

    words = ["sweep", "--preset=smoke", *flags(TINY), "--out=new.zarr", "--dry-run"]
    words += ["--over", *(axis() for _ in range(chance.choice((1, 1, 2, 3))))] if chance.random() < 0.8 else []
    words += ["--zip", axis(), axis()] if chance.random() < 0.3 else []
    if chance.random() < 0.4:
        words.append(f"--{chance.choice(list(DRAWS))}={chance.choice((1, 4, 50, 1000, 10**8, word(chance)))}")
    words += [f"--design-seed={word(chance)}"] if chance.random() < 0.1 else []
    words += chance.choice(([], [], [], ["--with-students"], ["--yes"]))
    return Input(words, ("--over", "--zip", "--random", "--sobol", "--design-seed"))


OVER = ("data.weak_view_strength=0.05,0.3", "train.learning_rate=4,8")


def trained(chance: random.Random, folder: Path) -> Input:
    """A study of three steps with any parameters, its sizes small."""
    sizes = {n: chance.choice((TINY[n], value(chance, n, 12))) for n in chance.sample(sorted(TINY), 3)}
    fields = {n: v for n, v in configuration(chance, 0.02, 12).items() if not n.endswith("num_steps")}
    words = ["--preset=smoke", *flags({**TINY, **sizes, **fields, "train.num_steps": 3})]
    what = chance.random()
    if what < 0.05:
        return Input(["verify", *words, "--json=new.json"], ("--json",), ("new.json", "multiview-results"))
    if what < 0.2:
        axes = ["--over", *OVER, *chance.choice(([], ["--with-students"]))]
        return Input(
            ["sweep", *words, *axes, "--out=new.zarr", "--quiet"], ("--over",), ("new.zarr", "new.zarr.events.jsonl")
        )
    return Input(["train", *words, *chance.choice(([], ["--no-distillation"])), "--out=new.zarr"], (), ("new.zarr",))
