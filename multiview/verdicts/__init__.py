"""What the theory predicts for a study's size, and whether what was measured agrees."""
