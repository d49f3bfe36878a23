"""Worlds, from which samples come: the synthetic world, a user's own, and patches in the form that networks read."""
