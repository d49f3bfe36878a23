"""Every parameter of a study: what it means, what is allowed, and how values are converted, checked and changed.

A `Study` holds five frozen dataclasses, its sections. Each field is declared once, by `multiview.parameters.parameter`,
with its meaning in the docstring below it; flags, files, Python, the pages and reports all follow from the declaration.
"""

from multiview.config.data import DataConfig, check_data
from multiview.config.distillation import DistillConfig
from multiview.config.meanings import explained, meaning, meanings
from multiview.config.network import NetworkConfig
from multiview.config.study import (
    Study,
    all_fields,
    convert,
    from_mapping,
    get,
    replace,
    section_of,
    sections,
    to_mapping,
)
from multiview.config.training import TrainConfig
from multiview.config.values import check_section

__all__ = [
    "DataConfig",
    "DistillConfig",
    "NetworkConfig",
    "Study",
    "TrainConfig",
    "all_fields",
    "check_data",
    "check_section",
    "convert",
    "explained",
    "from_mapping",
    "get",
    "meaning",
    "meanings",
    "replace",
    "section_of",
    "sections",
    "to_mapping",
]
