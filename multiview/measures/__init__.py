"""Measures of what networks learned."""
