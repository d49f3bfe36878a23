"""The plan of a sweep: its points as studies, the groups that share a compiled program, and the predicted cost."""

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
from multiview.sweeps.grammar import MOST_BLOCKS

# Rows of patches are padded to a multiple of this number, so that points whose drawn data differ share shapes. Padding
# adds a few per cent of the rows and changes no result (tests/test_sweep.py).
ROW_MULTIPLE = 16
# Whether these values are 0 decides which arrays exist, so it is part of a group's key although the values are traced.
_SWITCHES = ("data.feature_noise", "data.noise_norm", "data.background_noise_norm")
# Largest share of unused slots for networks in the compiled blocks of a unit of work.
LARGEST_UNUSED_SHARE = 0.1


class Block(NamedTuple):
    """One replicate of one point, the smallest piece of a sweep that is stored."""

    point: int
    replicate: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """A checked sweep: what it computes, in which order, and the predicted cost.

    Attributes:
        base: the study that the points start from.
        design: its points.
        students: whether students are trained too.
        groups: points that share a compiled program, in the order in which they run.
        batches: number of each point's batch; networks of points with equal numbers can be trained together.
        networks: seeds of each point.
        block_sizes: `train.block_size` of each point.
        replicates: replicates of each point.
        cost: predicted activations of one replicate of each point.
        largest: for each field that is a size, its largest value over the points.
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
        """Make the study of a point."""
        return replace(self.base, self.design.changes(point))

    def blocks(self) -> Iterator[Block]:
        """Go through all blocks in the order in which they run: group by group, and in each batch by batch."""
        for group in self.groups:
            for _, together in itertools.groupby(group, key=lambda point: self.batches[point]):
                points = list(together)
                for replicate in range(self.replicates[points[0]]):
                    for point in points:
                        yield Block(point, replicate)

    def units(self, blocks: Iterable[Block], default_size: int, in_flight: int) -> Iterator[tuple[Block, ...]]:
        """Divide blocks into units of work: blocks whose networks are trained together.

        The compiled program trains `in_flight` blocks of `train.block_size` networks at the same time: the product is
        its number of slots. A unit is as small as keeps the devices busy: one block if its seeds fill all slots, else
        as many blocks as leave few slots unused. The division changes no result.

        Args:
            blocks: the blocks to compute, in the order of `Plan.blocks`.
            default_size: networks in a block of the compiled program where `train.block_size` is 0.
            in_flight: blocks of the compiled program that are trained at the same time.

        Yields:
            The blocks of each unit.
        """
        for _, alike in itertools.groupby(blocks, key=lambda b: (self.batches[b.point], b.replicate)):
            unit: list[Block] = []
            count = 0
            for block in alike:
                slots = (self.block_sizes[block.point] or default_size) * in_flight
                unit.append(block)
                count += self.networks[block.point]
                if -count % slots <= LARGEST_UNUSED_SHARE * count:
                    yield tuple(unit)
                    unit, count = [], 0
            if unit:
                yield tuple(unit)

    @property
    def num_blocks(self) -> int:
        """The number of blocks."""
        return sum(self.replicates)

    @property
    def seconds(self) -> float:
        """The training time in seconds that is roughly to be expected on this machine."""
        return seconds_for(sum(c * r for c, r in zip(self.cost, self.replicates, strict=True)))


def group_key(study: Study) -> tuple[Any, ...]:
    """Return all that the compiled training program depends on: studies with equal keys share the program.

    It depends on the fields that are not declared traced in `config`, and on whether there is any noise.
    """
    static = [get(study, name) for name, (field, _) in all_fields().items() if not field.metadata["traced"]]
    return (*static, *(get(study, name) > 0 for name in _SWITCHES))


def batch_key(study: Study) -> tuple[Any, ...]:
    """Return all parameters that the networks of a block share: studies with equal keys can be trained together.

    Each network has its own traced numbers of the sections network, train and distill (rate, threshold, start,
    temperature, …). Whole numbers in these sections count steps and records, which a block passes together; the data
    are shared too.
    """
    return tuple(
        get(study, name)
        for name, (field, kind) in all_fields().items()
        if name not in ("preset", "seeds", "students")
        and not (field.metadata["traced"] and kind is float and not name.startswith("data."))
    )


_SIZES = (*LENGTHS.values(), "self_distill.generations")


def make_plan(base: Study, design: Design, students: bool = False) -> Plan:
    """Check every point of a design, sort the points into groups and predict their cost.

    Args:
        base: the study that the points start from.
        design: the points.
        students: whether students are trained too.

    Returns:
        The plan.

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
    if sum(replicates) > MOST_BLOCKS:
        raise ConfigError(
            f"replicates = {max(replicates)} would make {sum(replicates)} blocks; at most 10⁷ are possible"
        )
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
