"""Names of the dimensions of what is stored, and the parameters that give their lengths."""

from __future__ import annotations

# Networks, and what is measured of each; a measure may use any of the last four after seed and time.
LENGTHS = {
    "replicate": "replicates",
    "seed": "seeds",
    "student": "students",
    "class": "data.num_classes",
    "view": "data.num_views",
    "neuron": "network.neurons_per_class",
    "feature": "data.num_features",
}
