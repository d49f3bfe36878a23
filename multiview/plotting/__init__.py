"""Figures from stored results: functions f(results, ax) → ax."""
