"""Benchmarks: the same training steps through several libraries, scaling, start-up. Run `python -m benchmarks --help`."""
