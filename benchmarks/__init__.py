"""The same training steps through several libraries, scaling, start-up: see `python -m benchmarks --help`."""
