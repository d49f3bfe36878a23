"""The synthetic world, from which the samples of every split are drawn."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from multiview import streams
from multiview.config import DataConfig, Study, TrainConfig, check_data, check_section
from multiview.parameters import refusal
from multiview.settings import in_own_settings
from multiview.world.find_pairs import find_pairs
from multiview.world.law import orthonormal_features, sample_dataset
from multiview.world.pairs import Pairs
from multiview.world.patches import represent
from multiview.world.samples import Kind, MultiViewDataset, Split
from multiview.world.task import Task
from multiview.world.values import check_count, check_kind, check_seed, check_split

# Samples of a chunk: large enough to make the overhead of a call negligible, small enough for dense patches of large d.
CHUNK = 1000
# Rows of test samples are padded to a multiple of this number, so that chunks and kinds share compiled programs.
_ROW_MULTIPLE = 64
_PAIR_MULTIPLE = 8  # likewise of the lengths of tables of pairs, in a sweep
# Numbers of the kinds in the streams of test samples and of their noise.
_SAMPLES = {"mixture": 0, "multi_view": 1, "single_view": 2}
_NOISE = {"multi_view": 0, "single_view": 1, "mixture": 2}


class Chunk(NamedTuple):
    """A part of a test set.

    Attributes:
        kind: kind of its samples.
        number: number of the chunk among those of its kind, from 0.
        task: the samples and their patches.
        noise_key: typed key from which networks draw their overlaps with the private noise of the patches.

    Example:
        >>> import multiview as mv
        >>> world = mv.World.of(mv.load_preset("smoke"))
        >>> [chunk.kind for chunk in world.held_out(sizes={"multi_view": 2000, "single_view": 10})]
        ['multi_view', 'multi_view', 'single_view']
    """

    kind: Kind
    number: int
    task: Task
    noise_key: Array

    @property
    def labels(self) -> np.ndarray:
        """The class of each sample [n]."""
        return np.asarray(self.task.data.labels)

    @in_own_settings
    def noise_keys(self, networks: int | np.ndarray) -> Array:
        """Make the keys from which networks draw their overlaps with the private noise of the patches.

        A key depends only on a network's index, so that further networks change nothing.

        Args:
            networks: number of networks, or indices of networks in their groups.

        Returns:
            A typed key for each network.
        """
        indices = np.arange(networks) if isinstance(networks, int) else networks
        return jax.vmap(lambda i: jax.random.fold_in(self.noise_key, i))(jnp.asarray(indices))


@dataclass(frozen=True, eq=False)
class World:
    """The synthetic world of section 3 of docs/theory.md: one law, one set of features, named splits of samples.

    Every draw has its own random stream, determined by seed, split, replicate, kind and chunk. So no two splits share a
    sample, and further samples, replicates or chunks never change the earlier ones. Another world is a subclass that
    overrides `train` (another training set), `test` (another law of test samples) or `features`.

    Args:
        config: the law, and the sizes of the training and test sets.
        seed: seed of all streams, 0 … 2³²−1.
        dtype: dtype of strengths and vectors, "float32" or "float64"; it changes no draw.
        own_features: feature vectors [kL, d] instead of those that are drawn from the seed.

    Raises:
        ConfigError: a value that is not allowed, in the words of the command line.

    Example:
        >>> import multiview as mv
        >>> world = mv.World(mv.DataConfig(num_classes=4, representation="dense"), seed=1)
        >>> train, test = world.train(), world.test("single_view", 100)
        >>> train.patches.shape, test.patches.shape, world.features.shape
        ((400, 13, 256), (100, 13, 256), (8, 256))
    """

    config: DataConfig = dataclasses.field(default_factory=DataConfig)
    seed: int = 0
    dtype: str = "float32"
    own_features: Any = None

    def __post_init__(self) -> None:
        """Refuse values that the command line refuses, in the same words."""
        if not isinstance(self.config, DataConfig):
            raise refusal("config", self.config, "a DataConfig")
        object.__setattr__(self, "config", check_data(self.config))
        check_section(TrainConfig(dtype=self.dtype), "train.")  # type: ignore[arg-type]
        object.__setattr__(self, "seed", check_seed("seed", self.seed))

    @classmethod
    def of(cls, study: Study, **own: Any) -> Self:
        """Make the world of a study, from its data, seed and precision.

        Args:
            study: the configuration.
            own: values of further fields of the class.

        Returns:
            The world.
        """
        return cls(config=study.data, seed=study.seed, dtype=study.train.dtype, **own)

    @functools.cached_property
    @in_own_settings
    def features(self) -> Array | None:
        """Feature vectors v_{j,ℓ}, row j·L + ℓ of [kL, d]; None in a limit representation, which needs none."""
        if self.own_features is not None:
            return jnp.asarray(self.own_features, self.dtype)
        if self.config.representation != "dense":
            return None
        return orthonormal_features(self._key(streams.FEATURES), self.config, jnp.dtype(self.dtype))

    def check_study(self, study: Study) -> None:
        """Refuse a study of another world, whose sizes and prediction would not be those of this world.

        Raises:
            ConfigError: a parameter of `data`, or the precision, differs.
        """
        pairs = {
            f"data.{f.name}": (getattr(study.data, f.name), getattr(self.config, f.name))
            for f in dataclasses.fields(DataConfig)
        }
        for name, (value, own) in (pairs | {"train.dtype": (study.train.dtype, self.dtype)}).items():
            if value != own:
                raise refusal(name, value, f"{own!r} as in the world that was given; Study(data=world.config) has it")

    @property
    def test_sizes(self) -> dict[Kind, int]:
        """The number of test samples of each kind, from the configuration."""
        return {"multi_view": self.config.num_test_multi_view, "single_view": self.config.num_test_single_view}

    @in_own_settings
    def train(self, replicate: int = 0) -> MultiViewDataset:
        """Draw the training set of one replicate.

        In the representation `limit_single_view_noise` the set has exactly N − N_s multi-view samples without noise, of
        total weight 1 − μ, and N_s single-view samples with noise, of total weight μ. In the others it is N draws from
        the mixture. In the former, the multi-view samples represent a much larger set in which all classes are equally
        frequent; so they have equal classes. (With 14 random samples a class on average, a class of 4 samples would
        learn 3.5 times too late.)

        Args:
            replicate: number of the replicate, from 0.

        Returns:
            The samples with their ground truth; their weights sum to 1.
        """
        config, dtype = self.config, jnp.dtype(self.dtype)
        if config.representation != "limit_single_view_noise":
            return self.sample(config.num_train, replicate=replicate)
        num_single = config.num_single_view_train
        multi_key, single_key = jax.random.split(self._key(streams.TRAINING_DATA, replicate))
        multi = sample_dataset(
            multi_key, config, config.num_train - num_single, "multi_view", None, dtype, equal_classes=True
        )
        mu = config.single_view_fraction if num_single else 0.0
        multi = dataclasses.replace(multi, weights=multi.weights * (1 - mu), noise_norms=0 * multi.noise_norms)
        if not num_single:
            return multi
        single = sample_dataset(single_key, config, num_single, "single_view", None, dtype)
        single = dataclasses.replace(single, weights=single.weights * mu)
        return jax.tree.map(lambda a, b: jnp.concatenate([a, b]), multi, single)

    @in_own_settings
    def test(self, kind: Kind, num_samples: int, replicate: int = 0) -> MultiViewDataset:
        """Draw fresh test samples of one kind, the same as `held_out` returns in chunks.

        Args:
            kind: "multi_view", "single_view" or "mixture".
            num_samples: n; larger sets begin with the samples of smaller ones.
            replicate: number of the replicate, which has its own test set.

        Returns:
            The samples with their ground truth, with equal weights.
        """
        kind, num_samples = check_kind(kind), check_count("num_samples", num_samples)
        begins = range(0, num_samples, CHUNK)
        chunks = [self._test(kind, i, min(CHUNK, num_samples - b), replicate) for i, b in enumerate(begins)]
        data = jax.tree.map(lambda *a: jnp.concatenate(a), *chunks)
        return dataclasses.replace(data, weights=jnp.asarray(np.full(num_samples, 1 / num_samples, self.dtype)))

    @in_own_settings
    def sample(
        self, num_samples: int, kind: Kind = "mixture", split: Split = "train", replicate: int = 0
    ) -> MultiViewDataset:
        """Draw samples of one kind for one split; no two of the six pairs (kind, split) share a sample.

        Args:
            num_samples: n; larger sets begin with the samples of smaller ones.
            kind: "mixture", "multi_view" or "single_view".
            split: "train" or "test".
            replicate: number of the replicate, which has its own samples.

        Returns:
            The samples with their ground truth, with equal weights.
        """
        if check_split(split) == "test":
            return self.test(kind, num_samples, replicate)
        kind, num_samples = check_kind(kind), check_count("num_samples", num_samples)
        if kind == "mixture":
            key = self._key(streams.TRAINING_DATA, replicate)
        else:
            key = self._key(streams.TRAINING_DATA_OF_ONE_KIND, replicate, _SAMPLES[kind])
        return self._draw(key, num_samples, kind)

    def held_out(self, replicate: int = 0, sizes: Mapping[Kind, int] | None = None) -> Iterator[Chunk]:
        """Draw fresh test samples kind by kind and chunk by chunk, so that memory does not grow with the test set.

        Args:
            replicate: number of the replicate, which has its own test set.
            sizes: number of samples of each kind; by default `test_sizes`.

        Yields:
            Chunks of at most `CHUNK` samples.
        """
        wanted = self.test_sizes if sizes is None else sizes
        for kind, size in [(check_kind(k), check_count(f"sizes[{k!r}]", n, 0)) for k, n in wanted.items()]:
            for number, begin in enumerate(range(0, size, CHUNK)):
                yield self._chunk(kind, number, min(CHUNK, size - begin), replicate)

    @in_own_settings
    def _chunk(self, kind: Kind, number: int, size: int, replicate: int) -> Chunk:
        """Draw one chunk. (The generator must not switch the precision itself: its caller would run in it too.)"""
        data = self._test(kind, number, size, replicate)
        patches = represent([data], self.config, jnp.dtype(self.dtype), row_multiple=_ROW_MULTIPLE)[0]
        return Chunk(kind, number, Task(data, patches), self._key(streams.TEST_NOISE, replicate, _NOISE[kind], number))

    @in_own_settings
    def tasks(
        self, replicates: int = 1, row_multiple: int = 1, as_vectors: bool = False, with_pairs: bool = False
    ) -> list[Task]:
        """Draw the training samples of every replicate, with patches in shapes that share one compiled program.

        Args:
            replicates: number of replicates.
            row_multiple: see `represent`; a sweep pads rows, so that its points share shapes. This changes no result.
            as_vectors: see `represent`; patches that are mixed or dropped must be vectors.
            with_pairs: whether to find the pairs that can grow, for `train.solver = "multirate"`.

        Returns:
            A task for each replicate.
        """
        datasets = [self.train(replicate) for replicate in range(check_count("replicates", replicates))]
        patches = represent(datasets, self.config, jnp.dtype(self.dtype), row_multiple, as_vectors)
        pairs: list[Pairs | None] = [None] * replicates
        if with_pairs:
            pairs = find_pairs(datasets, patches, self.config, 1 if row_multiple == 1 else _PAIR_MULTIPLE)
        return [Task(*parts) for parts in zip(datasets, patches, pairs, strict=True)]

    @in_own_settings
    def probes(self) -> Task:
        """Make samples that show one view each, to measure a network's response to it.

        Sample j·L + ℓ holds view ℓ of class j in its first patch, with strength 1 and without noise. The last sample is
        empty.

        Returns:
            A task of kL + 1 samples.
        """
        config, dtype = self.config, jnp.dtype(self.dtype)
        number, count = config.num_features + 1, config.num_patches
        view = np.arange(number)
        index = np.full((number, count), -1, np.int32)
        index[:-1, 0] = view[:-1]
        strengths = jnp.asarray(index >= 0, dtype)
        patches = None
        if self.features is not None:
            patches = jnp.zeros((number, count, self.features.shape[1]), dtype).at[:-1, 0].set(self.features)
        data = MultiViewDataset(
            labels=jnp.asarray(np.append(view[:-1] // config.num_views, 0), jnp.int32),
            is_single_view=jnp.asarray(view < number - 1),
            chosen_view=jnp.asarray(np.append(view[:-1] % config.num_views, -1), jnp.int32),
            patch_feature=jnp.asarray(index),
            coefficients=strengths,
            noise_norms=jnp.zeros_like(strengths),
            weights=jnp.asarray(np.full(number, 1 / number), dtype),
            dropped_features=jnp.zeros(number, jnp.int32),
            patches=patches,
        )
        return Task(data, represent([data], config, dtype)[0])

    def _key(self, name: int, *indices: int) -> Array:
        return streams.stream(self.seed, name, *(check_seed("replicate", index) for index in indices))

    def _draw(self, key: Array, num_samples: int, kind: Kind) -> MultiViewDataset:
        """Draw samples of the law; multi-view samples carry no noise if those of the training set carry none."""
        data = sample_dataset(key, self.config, num_samples, kind, self.features, jnp.dtype(self.dtype))
        if self.config.representation == "limit_single_view_noise" and kind == "multi_view":
            data = dataclasses.replace(data, noise_norms=0 * data.noise_norms)
        return data

    def _test(self, kind: Kind, number: int, size: int, replicate: int) -> MultiViewDataset:
        """Draw the samples of one chunk of a test set."""
        return self._draw(self._key(streams.TEST_DATA, replicate, _SAMPLES[kind], number), size, kind)
