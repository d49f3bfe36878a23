"""What a system is: how a block of networks starts, trains and answers.

Everything that runs studies, blocks, sweeps and forecasts talks to these functions and knows no system by name. All of
them are pure and work on a block: arrays have a leading axis of B networks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from jax import Array
from jaxtyping import Float, Int, Key

from multiview.config import DistillConfig, NetworkConfig, Study, TrainConfig
from multiview.network.parameters import Parameters
from multiview.training.forecast import Footprint, Shapes, Work
from multiview.world.task import Task

State = Any  # a system's own: whatever its next step needs, any pytree with a leading axis of networks
Kept = Any  # what answering needs of a trained network, likewise


class Sizes(NamedTuple):
    """Whole numbers that are part of the compiled programs.

    Attributes:
        classes: k.
        views: L.
        dimension: D of the weights: d with dense patches, the number of features kL in the limit.
    """

    classes: int
    views: int
    dimension: int

    @property
    def features(self) -> int:
        """All features kL."""
        return self.classes * self.views


class Settings(NamedTuple):
    """The configuration of each network of a block: its traced numbers are arrays [B].

    Attributes:
        network: activation and start.
        train: optimiser and rate.
        distill: the distillation term; None without a teacher.
        own: numbers of the system's own, of `System.own`.
    """

    network: NetworkConfig
    train: TrainConfig
    distill: DistillConfig | None
    own: Any


class Seen(NamedTuple):
    """What is recorded of a block at one moment.

    Attributes:
        parameters: the networks as measures see them [B, …].
        outputs: logits whose errors count, on the training samples [B, N, k]; [N, k] where the networks are one.
        task: the training samples, in the patches that `parameters` belong to.
        teaches: logits that a student of each network is taught; None where these are `outputs`.
        evaluations: gradient evaluations so far; None where each step is one.
    """

    parameters: Parameters
    outputs: Float[Array, "*b n k"]
    task: Task
    teaches: Float[Array, "b n k"] | None = None
    evaluations: Int[Array, " b"] | None = None


class System(NamedTuple):
    """How a block of B networks, or of what takes their place, starts, trains and answers.

    Attributes:
        start: typed keys of the starts [B], keys of all that steps draw [B] or None, the training samples, settings and
            sizes, to a state.
        advance: state, first, last, least, samples, teacher's scaled logits [B, N, k] or None, settings and sizes, to
            the state after the steps `first` … `last` − 1; from step `least` on steps are taken only while a training
            sample is wrong (`stopping.until_fitted`).
        look: state, samples, settings and sizes, to what records need.
        keep: state, samples, settings and sizes, to what answering needs.
        answer: what was kept, typed keys of fresh noise [B], test samples, settings and sizes, to logits [B, n, k].
        footprint: shapes and study, to the numbers that training stores: the one memory formula.
        work: shapes and study, to the activations that a network passes: the one time formula.
        resume: state, to the state with which a further phase of training begins.
        own: study and networks in the block, to numbers of the system's own for each network.
        patience: how many times `train.num_steps` it may train from labels while a sample is wrong.
        student_steps: steps that its students take under a teacher for each step that is asked for.
        joint: whether all networks of a study are trained as one, so that a block holds all of them.
        alone: whether its compiled programs run one at a time on the CPU.
        answered_together: blocks of rows that are answered at a time, as rows store nothing for each neuron.
    """

    start: Callable[[Key[Array, " b"], Any, Task, Settings, Sizes], State]
    advance: Callable[[State, Any, Any, Any, Task, Any, Settings, Sizes], State]
    look: Callable[[State, Task, Settings, Sizes], Seen]
    keep: Callable[[State, Task, Settings, Sizes], Kept]
    answer: Callable[[Kept, Key[Array, " b"], Task, Settings, Sizes], Float[Array, "b n k"]]
    footprint: Callable[[Shapes, Study], Footprint]
    work: Callable[[Shapes, Study], Work]
    resume: Callable[[State], State] = lambda state: state
    own: Callable[[Study, int], tuple[float, ...]] = lambda study, networks: ()
    patience: int = 1
    student_steps: int = 1
    joint: bool = False
    alone: bool = False
    answered_together: int = 1
