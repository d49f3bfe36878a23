"""Sweeps: a design of points, run block by block into one store, and continued wherever it stopped."""
