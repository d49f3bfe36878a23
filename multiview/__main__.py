"""`python -m multiview`."""

from multiview.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
