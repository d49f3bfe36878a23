"""What a sweep will do: its points as studies, the groups that share a compiled program, and what they will cost."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from multiview.config import Study, all_fields, get, replace
from multiview.measures.dimensions import LENGTHS
from multiview.parameters import ConfigError
from multiview.sweeps.cost import activations, seconds_for, worker_bytes
from multiview.sweeps.design import Design

# Rows of patches are padded to a multiple of this, so that points whose drawn data differ share shapes. It costs a few
# per cent of the rows and changes no number (tests/test_sweep.py holds that).
ROW_MULTIPLE = 16
# Switches between 0 and not 0 decide which arrays exist, so they are part of a group although the value is traced.
_SWITCHES = ("data.feature_noise", "data.noise_norm", "data.background_noise_norm")
# Points are computed together until this share of the networks' places, at most, is left empty.
EMPTY_PLACES = 0.1


class Block(NamedTuple):
    """What is stored at a time: one replicate of one point."""

    point: int
    replicate: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """A sweep, decided.

    Attributes:
        base: the study that the points start from.
        design: its points.
        students: whether students are trained too.
        groups: points that share a compiled program, in the order in which they run.
        batches: for each point a number that it shares with the points whose networks can be trained with its own.
        networks: seeds of each point.
        block_sizes: `train.block_size` of each point.
        replicates: replicates of each point.
        cost: predicted activations of one replicate of each point.
        largest: largest value over the points of each field that is a size.
        double: whether any point computes in double precision.
        bytes: predicted memory of one worker process.
    """

    base: Study
    design: Design
    students: bool
    groups: tuple[tuple[int, ...], ...]
    batches: tuple[int, ...]
    networks: tuple[int, ...]
    block_sizes: tuple[int, ...]
    replicates: tuple[int, ...]
    cost: tuple[float, ...]
    largest: dict[str, int]
    double: bool
    bytes: float

    def study(self, point: int) -> Study:
        """The study of a point."""
        return replace(self.base, self.design.changes(point))

    def blocks(self) -> Iterator[Block]:
        """All blocks in the order in which they run: group by group, and what can be computed together in a row."""
        for group in self.groups:
            for _, together in itertools.groupby(group, key=lambda point: self.batches[point]):
                points = list(together)
                for replicate in range(self.replicates[points[0]]):
                    for point in points:
                        yield Block(point, replicate)

    def units(self, blocks: Iterable[Block], default_size: int, in_flight: int) -> Iterator[tuple[Block, ...]]:
        """Units of work: blocks whose networks are trained together.

        A unit is as small as keeps devices busy: one block where its seeds fill all places of the compiled program's
        blocks in flight, else as many as leave few places empty. What a unit holds changes no number.

        Args:
            blocks: those to compute, in the order of `blocks`.
            default_size: networks that are trained together where `train.block_size` is 0.
            in_flight: how many times so many are trained at once.
        """
        for _, alike in itertools.groupby(blocks, key=lambda b: (self.batches[b.point], b.replicate)):
            unit: list[Block] = []
            count = 0
            for block in alike:
                places = (self.block_sizes[block.point] or default_size) * in_flight
                unit.append(block)
                count += self.networks[block.point]
                if -count % places <= EMPTY_PLACES * count:
                    yield tuple(unit)
                    unit, count = [], 0
            if unit:
                yield tuple(unit)

    @property
    def num_blocks(self) -> int:
        """Number of blocks."""
        return sum(self.replicates)

    @property
    def seconds(self) -> float:
        """Predicted training time on this machine, a rough guess."""
        return seconds_for(sum(c * r for c, r in zip(self.cost, self.replicates, strict=True)))


def group_key(study: Study) -> tuple[Any, ...]:
    """What is part of the compiled training program: studies with equal keys share it.

    These are the fields that are not declared traced in `config`, and whether noise is there at all.
    """
    static = [get(study, name) for name, (field, _) in all_fields().items() if not field.metadata["traced"]]
    return (*static, *(get(study, name) > 0 for name in _SWITCHES))


def batch_key(study: Study) -> tuple[Any, ...]:
    """Everything but what each network of a block has for itself: studies with equal keys can be trained together.

    A network has its own numbers of the sections network, train and distill: rate, threshold, start, temperature, …
    Whole numbers there are steps and records, which a block goes through together. The data are shared.
    """
    return tuple(
        get(study, name)
        for name, (field, kind) in all_fields().items()
        if name not in ("preset", "seeds", "students")
        and not (field.metadata["traced"] and kind is float and not name.startswith("data."))
    )


_SIZES = (*LENGTHS.values(), "self_distill.generations")


def make_plan(base: Study, design: Design, students: bool = False) -> Plan:
    """Check every point and sort the points into groups.

    Raises:
        ConfigError: a point is no valid study; the line names the point.
    """
    groups: dict[tuple[Any, ...], dict[int, list[int]]] = {}  # points by batch
    numbers: dict[tuple[Any, ...], int] = {}
    batches, networks, block_sizes, replicates, cost = [], [], [], [], []
    largest = dict.fromkeys(_SIZES, 0)
    most, double = 0.0, False
    for point in range(design.num_points):
        try:
            study = replace(base, design.changes(point))
        except ConfigError as error:
            at = f" (at point {point}: {design.describe(point)})" if len(design.fields) > 1 else ""
            raise ConfigError(f"{error}{at}") from None
        batches.append(numbers.setdefault(batch_key(study), len(numbers)))
        groups.setdefault(group_key(study), {}).setdefault(batches[-1], []).append(point)
        networks.append(study.seeds)
        block_sizes.append(study.train.block_size)
        replicates.append(study.replicates)
        cost.append(activations(study, students))
        most = max(most, worker_bytes(study))
        double = double or study.train.dtype == "float64"
        for name in _SIZES:
            largest[name] = max(largest[name], get(study, name))
    ordered = tuple(tuple(point for points in group.values() for point in points) for group in groups.values())
    return Plan(
        base=base,
        design=design,
        students=students,
        groups=ordered,
        batches=tuple(batches),
        networks=tuple(networks),
        block_sizes=tuple(block_sizes),
        replicates=tuple(replicates),
        cost=tuple(cost),
        largest=largest,
        double=double,
        bytes=most,
    )
