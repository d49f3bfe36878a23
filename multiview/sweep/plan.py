"""What a sweep will do: its points as studies, the groups that share a compiled program, and what they will cost."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from multiview import memory
from multiview.config import ConfigError, Study, all_fields, get, replace
from multiview.sweep.design import Design

# Rows of patches are padded to a multiple of this, so that points whose drawn data differ share shapes. It costs a few
# per cent of the rows and changes no number (tests/test_sweep.py holds that).
ROW_MULTIPLE = 16
# Activations that steps pass per second, forward and back, with two cores. Measured: 1.1·10⁹ for `smoke`, 0.9 for
# `reference`, 1.8 for `dense`, 0.4 for 400 samples with noise. Only the first estimate rests on it; a sweep that runs
# measures its own speed.
ACTIVATIONS_PER_SECOND = 1e9
TEST_SHARE = 0.4  # a test is a forward pass, about 0.4 of a step
STUDY_SECONDS = 15  # of a study's own: its programs are compiled or read back, its prediction is made
PROCESS_BYTES = 500e6  # an interpreter with JAX and its compiled programs
# Switches between 0 and not 0 decide which arrays exist, so they are part of a group although the value is traced.
_SWITCHES = ("data.feature_noise", "data.noise_norm", "data.background_noise_norm")


CPU_BLOCK = 2  # `batching.block_size` on the CPU, known here without starting JAX; a test holds them equal
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
        return _seconds(sum(c * r for c, r in zip(self.cost, self.replicates, strict=True)))


def _seconds(activations: float) -> float:
    return 2 / min(os.cpu_count() or 1, 2) * activations / ACTIVATIONS_PER_SECOND


def expected_seconds(study: Study, students: bool) -> float:
    """A rough guess, before anything is known, of what one study takes on this machine."""
    return STUDY_SECONDS + _seconds(study.replicates * activations(study, students))


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


_SIZES = ("data.num_classes", "data.num_views", "seeds", "replicates", "students", "self_distill.generations")


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


def _slots(study: Study, samples: float) -> float:
    """Patches that act on a network, in so many samples."""
    data = study.data
    if data.representation == "dense" or data.feature_noise > 0 or data.background_noise_norm > 0:
        return samples * data.num_patches
    features = data.num_views * (1 + (data.num_classes - 1) * min(1.0, data.feature_sparsity / data.num_classes))
    return samples * min(data.num_patches, features * data.patches_per_feature)


def activations(study: Study, students: bool) -> float:
    """Predicted activations of one replicate, with dense products counted by their multiplications."""
    data = study.data
    steps = study.seeds * study.train.num_steps
    tested = study.seeds
    if students:
        onset = study.distill.onset_step + study.self_distill.onset_step * study.self_distill.generations
        own = study.distill.num_steps + study.self_distill.num_steps * study.self_distill.generations
        steps += study.students * (onset + own)
        tested += study.students * (1 + study.self_distill.generations)
    each, noisy = _each_patch(study)
    if data.representation != "limit_single_view_noise":
        trained, test = data.num_train * noisy, (data.num_test_multi_view + data.num_test_single_view) * noisy
    else:
        trained = (data.num_train - data.num_single_view_train) * each + data.num_single_view_train * noisy
        test = data.num_test_multi_view * each + data.num_test_single_view * noisy
    if study.train.changes_patches and data.representation != "dense":  # every patch, as a vector, on every neuron
        of_vector = data.num_classes * study.network.neurons_per_class * max(1.0, data.num_features / 8)
        return steps * data.num_train * data.num_patches * of_vector + _slots(study, TEST_SHARE * tested * test)
    return _slots(study, steps * trained + TEST_SHARE * tested * test)


def _each_patch(study: Study) -> tuple[float, float]:
    """Activations of one patch, without noise and with it: without noise, features of other classes are summed in
    closed form (`network`), and only its own class's neurons are evaluated."""
    data, m = study.data, study.network.neurons_per_class
    if data.representation == "dense":
        return (data.num_classes * m * max(1.0, data.patch_dim / 8),) * 2
    quiet = m + 2.0 * data.num_classes
    return quiet, quiet if data.noise_norm == 0 else float(data.num_classes * m)


def worker_bytes(study: Study) -> float:
    """Predicted bytes of one worker process: the blocks in flight on the CPU (`memory.block_bytes`), at the number of
    patches that is expected; an accelerator has memory of its own."""
    data, train = study.data, study.train
    k, m = data.num_classes, study.network.neurons_per_class
    item = 8 if train.dtype == "float64" else 4
    as_vectors = data.representation == "dense" or data.feature_noise > 0 or train.changes_patches
    dimension = data.patch_dim if data.representation == "dense" else data.num_features
    tracked = (
        0.0 if data.representation == "dense" or data.noise_norm + data.background_noise_norm == 0 else data.num_train
    )
    if data.representation == "limit_single_view_noise":
        tracked = min(tracked, data.num_single_view_train)
    patches, slots = data.num_train * data.num_patches, _slots(study, data.num_train)
    parameters = (dimension + (tracked * data.num_patches if as_vectors else _slots(study, tracked))) * k * m
    kept = memory.kept_numbers(patches, 0, k, m) if as_vectors else memory.kept_numbers(0, slots, k, m)
    if train.changes_patches:
        of_mixtures = k * m if train.mixup != "none" and tracked else 0
        kept += memory.drawn_numbers(data.num_train, data.num_patches, dimension, of_mixtures)
    # Beside the parameters a solver or optimiser keeps so many numbers for each of them, seldom more than Adam's two.
    beside = 4 if train.solver == "gradient_flow" else 2 if train.optimizer != "sgd" else 1 if train.momentum else 0
    samples = item * patches * (dimension if as_vectors else 4)

    def block(networks: int) -> float:
        return memory.block_bytes(item * networks * (1 + beside) * parameters, item * networks * kept, samples)

    size, at_once = train.block_size or CPU_BLOCK, os.cpu_count() or 1
    if study.system == "network":
        return PROCESS_BYTES + at_once * block(size)
    if study.system == "average":  # its students are networks
        return PROCESS_BYTES + max(block(study.seeds), at_once * block(size))
    tangents, noise = study.system != "random_features", data.representation != "dense"
    numbers = memory.linear_numbers(data.num_train, data.num_patches, dimension, k, m, tangents=tangents, noise=noise)
    numbers += size * memory.linear_state(data.num_train, dimension, k, m) + 2 * patches * dimension
    return PROCESS_BYTES + item * numbers + (block(size) if study.system == "lazy" else 0)
