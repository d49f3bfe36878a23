"""Small convolutional networks on real images: the practice beside the theory (docs/theory.md, section 8)."""
