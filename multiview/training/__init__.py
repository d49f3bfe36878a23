"""Training of one network: objectives, steps and the gradient flow; the devices it runs on and what it costs."""
