"""The protocol of a system: how a block of networks starts, trains and answers.

Studies, blocks, sweeps and forecasts call these functions and know no system by name. All functions are pure and work
on a block: arrays have a leading axis of B networks.
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

State = Any  # the state of training, different in each system: any pytree with a leading axis of networks
Kept = Any  # the part of a trained network that answering needs: any pytree with a leading axis of networks


class Sizes(NamedTuple):
    """Sizes that are part of the compiled programs.

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
        """The number of features kL."""
        return self.classes * self.views


class Settings(NamedTuple):
    """The configuration of each network of a block: its traced numbers are arrays [B].

    Attributes:
        network: activation and start.
        train: optimiser and rate.
        distill: the distillation term; None without a teacher.
        own: further numbers of the system, from `System.own`.
    """

    network: NetworkConfig
    train: TrainConfig
    distill: DistillConfig | None
    own: Any


class Seen(NamedTuple):
    """A block at one moment, as measures read it.

    Attributes:
        parameters: the networks' parameters [B, …].
        outputs: logits on the training samples, whose errors count [B, N, k]; [N, k] for a joint system.
        task: the training samples, with patches in the representation of `parameters`.
        teaches: logits from which a student of each network is taught; None if they are `outputs`.
        evaluations: gradient evaluations so far; None if each step is one evaluation.
        all_pairs_steps: steps of multirate training so far that stepped all pairs; None for other training.
    """

    parameters: Parameters
    outputs: Float[Array, "*b n k"]
    task: Task
    teaches: Float[Array, "b n k"] | None = None
    evaluations: Int[Array, " b"] | None = None
    all_pairs_steps: Int[Array, " b"] | None = None


class System(NamedTuple):
    """A system as a set of functions on a block of B networks, with a few numbers and switches.

    Attributes:
        start: function from typed keys of the starts [B], keys of the random draws in steps [B] or None, training
            samples, settings and sizes to a state.
        advance: function from state, first, last, least, training samples, the teacher's scaled logits [B, N, k] or
            None, settings and sizes to the state after the steps `first` … `last` − 1; from step `least` on, steps are
            taken only while a training sample is wrong (`stopping.until_fitted`).
        look: function from state, training samples, settings and sizes to the block as measures read it.
        keep: function from state, training samples, settings and sizes to the part that answering needs.
        answer: function from this part, typed keys of fresh noise [B], test samples, settings and sizes to logits
            [B, n, k].
        footprint: function from shapes and study to the numbers that training stores; the only memory formula.
        work: function from shapes and study to the activations that a network computes; the only time formula.
        resume: function from a state to the state in which a further phase of training begins.
        own: function from study and number of networks to further numbers of the system for each network.
        patience: largest multiple of `train.num_steps` that it trains from labels while a training sample is wrong.
        student_steps: steps that its students take with a teacher for each step that is asked for.
        joint: whether all networks of a study are trained as one model, so that a block holds all of them.
        alone: whether its compiled programs run one at a time on the CPU.
        answered_together: factor by which blocks are larger in answering rows, which store nothing for each neuron.
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
