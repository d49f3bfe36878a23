"""Sweeps: a design of points, run block by block into one store; an interrupted sweep resumes where it stopped."""
