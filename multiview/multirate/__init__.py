"""The theory's network in steps whose cost grows as k²: pairs that can grow in every step, all others in blocks."""
