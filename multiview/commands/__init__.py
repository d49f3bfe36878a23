"""The command line: one family of commands a file; `main` puts them together."""
