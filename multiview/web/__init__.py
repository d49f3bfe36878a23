"""The explorer: JavaScript sources in `src`, the one page built from them, and `page`, which builds it."""
