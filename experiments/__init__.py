"""One question a file. Experiments import `multiview`, never the reverse; run one with `python -m experiments.NAME`."""
