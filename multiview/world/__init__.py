"""Where samples come from: the synthetic world, a user's own, and patches as networks see them."""
