"""Commands of the command line, one file a family; `cli` holds the parser and the older commands."""
