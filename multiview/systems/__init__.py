"""Systems that train: the theory's network, and the contrasts to it, one system a file."""
