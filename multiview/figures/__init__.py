"""Figures from stored results: functions f(results, ax) → ax, one kind of figure a file."""
