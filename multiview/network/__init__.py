"""The theory's network: activation, parameters, logits of each kind of patches."""
