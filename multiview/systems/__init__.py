"""Everything that trains: the theory's network, and what it is contrasted with, one system a file."""
