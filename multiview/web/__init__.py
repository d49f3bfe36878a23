"""What runs in a browser: the explorer, built from the sources in `src`, and the laboratory, a notebook."""
