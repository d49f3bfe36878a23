"""The command `python -m benchmarks`: the same training steps through several libraries, timed and compared.

Without a flag: NumPy, a PyTorch loop, torch.func's vmap, plain JAX's vmap, multiview on dense patches (all at d = 1024
and 4096), and multiview in the limit of large d. That all do the same work is checked first. The rows take turns, so
that other work on the machine falls on all of them alike; medians and quartiles are over the turns.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from benchmarks import classes, publish, report, rows, scaling
from multiview.files import writable_folder
from multiview.parameters import ConfigError


def main(arguments: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--scaling", action="store_true", help="time against seeds, N, P, k, m, d, devices; figure")
    what.add_argument("--classes", action="store_true", help="cost of a step against k, all pairs and multirate")
    what.add_argument("--device-report", action="store_true", help="rows and whole studies at the size of a GPU")
    what.add_argument("--publish", nargs="*", choices=publish.PARTS, metavar="PART",
                      help="measure rows, startup, many_seeds, scaling (or those named) into docs/figures")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="d = 1024 alone and fewer repeats (about two minutes)")
    parser.add_argument("--json", metavar="FILE", help="write the numbers there")
    parsed = parser.parse_args(arguments)
    try:
        if parsed.json:
            writable_folder(Path(parsed.json).parent, "--json")
        if parsed.publish is not None:
            document = publish.publish(parsed.quick, parsed.publish)
        elif parsed.scaling:
            document = scaling.measure(parsed.quick)
            scaling.write_figure(document, report.FIGURES / "scaling.png")
        elif parsed.classes:
            document = classes.measure(parsed.quick)
        elif parsed.device_report:
            keep = partial(report.write_json, parsed.json) if parsed.json else lambda document: None
            document = publish.device_report(parsed.quick, keep)
            report.show(document)
        else:
            document = report.rows_document(parsed.quick)
            report.show(document)
        if parsed.json:
            report.write_json(parsed.json, document)
    except (ConfigError, rows.Disagreement) as error:
        print(f"{parser.prog}: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
