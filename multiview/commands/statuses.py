"""How a command ends: each exception has its one line and its exit status; docs/start.md has the table."""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator

from multiview.parameters import ConfigError

FAILS, BAD_INPUT, OUR_FAULT, CLOSED_PIPE, INTERRUPTED = 1, 2, 70, 141, 130

_PLAIN = str.maketrans({
    "…": "...", "≥": ">=", "≤": "<=", "–": "-", "−": "-", "×": "x", "·": "*", "∞": "inf", "→": "->",
    "’": "'", "‘": "'", "“": '"', "”": '"', "²": "^2", "³": "^3", "⁶": "^6", "₀": "0", "√": "sqrt", "∫": "integral ",
    "μ": "mu", "η": "eta", "σ": "sigma", "ϱ": "rho", "ρ": "rho", "τ": "tau", "λ": "lambda", "Λ": "Lambda",
    "Γ": "Gamma", "ν": "nu", "ε": "epsilon", "ξ": "xi", "Φ": "Phi", "φ": "phi",
})  # fmt: skip


def _spell(error: UnicodeError) -> tuple[str, int]:
    """Spell what an encoding does not know: η as eta, ≥ as >=, and what has no such spelling as a question mark."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    word = error.object[error.start : error.end].translate(_PLAIN)
    return "".join(c if c.isascii() else "?" for c in word), error.end


@contextlib.contextmanager
def any_encoding() -> Iterator[None]:
    """Let the terminal take every text, whatever its encoding; at the end the streams are as they were."""
    codecs.register_error("multiview", _spell)
    streams = [s for s in (sys.stdout, sys.stderr) if hasattr(s, "reconfigure")]
    before = [s.errors for s in streams]
    for stream in streams:
        stream.reconfigure(errors="multiview")
    try:
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            with contextlib.suppress(OSError, ValueError):  # a pipe that has closed
                stream.reconfigure(errors=errors)


@contextlib.contextmanager
def no_window() -> Iterator[None]:
    """Draw into files alone: a backend that is not installed here, as notebooks name theirs, is of no concern."""
    before = os.environ.get("MPLBACKEND")
    os.environ["MPLBACKEND"] = "agg"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("MPLBACKEND", None)
        else:
            os.environ["MPLBACKEND"] = before


def leave_pipe() -> int:
    """Write no more to a pipe that nobody reads, so that Python says nothing about it at its end either."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    return CLOSED_PIPE


def environment_fault() -> str:
    """What of the user's environment keeps JAX from working, in words; "" where it works."""
    named = sorted(name for name in os.environ if name.startswith("JAX_"))
    try:
        import jax

        jax.local_devices()
    except Exception as error:  # JAX raises many kinds: RuntimeError, AssertionError, ValueError
        first = "JAX_PLATFORMS" if "JAX_PLATFORMS" in named else ", ".join(named)
        value = f" = {os.environ['JAX_PLATFORMS']!r}" if first == "JAX_PLATFORMS" else ""
        reason = " ".join(str(error).split())[:160] or error.__class__.__name__
        return f"JAX does not start with {first or 'this environment'}{value}: {reason}"
    return ""


def check_jax() -> None:
    """Refuse an environment in which JAX does not start.

    Raises:
        ConfigError: it names the variable.
    """
    fault = environment_fault()
    if fault:
        raise ConfigError(fault)


def status_of(error: BaseException) -> int:
    """Say in one line why a command ended, and give its exit status."""
    if isinstance(error, BrokenPipeError):
        return leave_pipe()
    if isinstance(error, KeyboardInterrupt):
        _say("interrupted")
        return INTERRUPTED
    if isinstance(error, ConfigError):
        _say(f"error: {error}")
        return BAD_INPUT
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):
        _say(
            "error: not enough memory; take fewer networks at a time (--train.block-size, --memory) or a smaller study"
        )
        return BAD_INPUT
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO):
        _say(f"error: {error.strerror}" + (f": {error.filename}" if error.filename else ""))
        return BAD_INPUT
    if not _working_folder_exists():
        _say("error: the working folder does not exist any more; change to another")
        return BAD_INPUT
    fault = environment_fault() if "jax" in sys.modules or "jax" in str(error).lower() else ""
    if fault:
        _say(f"error: {fault}")
        return BAD_INPUT
    _say(f"internal error: {error.__class__.__name__}: {' '.join(str(error).split())[:200]}; {_keep_traceback(error)}")
    return OUR_FAULT


def _working_folder_exists() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True


def _keep_traceback(error: BaseException) -> str:
    text = "".join(traceback.format_exception(error))
    try:
        handle, path = tempfile.mkstemp(prefix="multiview-traceback-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        return "its traceback could not be written"
    return f"please report it with {path}"


def _say(line: str) -> None:
    with contextlib.suppress(OSError):
        print(f"multiview: {line}", file=sys.stderr)
