"""Systems that the theory is contrasted with (docs/theory.md, section 8), one a file."""
