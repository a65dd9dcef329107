"""The command line: ``calscipy info | preview | convert | verify | clean | demo``."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from calscipy._version import __version__
from calscipy.cli import convert, info, stores
from calscipy.cli.info import demo_summary, machine_facts
from calscipy.cli.wording import for_shells, one_line
from calscipy.errors import CalscipyError, CalscipyWarning
from calscipy.options import set_options

__all__ = ["demo_summary", "machine_facts", "main"]

# argparse exits with 2 for a wrong command line; from 128 on, the number of a signal is added.
DONE, FAILED, INTERRUPTED, TERMINATED = 0, 1, 130, 143


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0: done. 1: it could not be done, for the reason on the standard error output.
    2: the command line was wrong. 130 and 143: it was interrupted (Ctrl-C) or told to end.
    """
    arguments = _parser().parse_args(argv)
    with (
        warnings.catch_warnings(),
        set_options(progress=sys.stderr.isatty()),
        _ended_in_order(),
    ):
        warnings.simplefilter("always", CalscipyWarning)
        warnings.showwarning = _show_warning
        try:
            code = arguments.run(arguments)
        except (CalscipyError, OSError) as error:
            _complain("error", error)
            return FAILED
        except KeyboardInterrupt as interrupt:
            ended = isinstance(interrupt, _Terminated)
            _complain("error", interrupt, "interrupted")
            return TERMINATED if ended else INTERRUPTED
    return DONE if code is None else int(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="calscipy",
        description="Calcium imaging on labelled, lazy arrays.",
        epilog="Exit codes: 0 done, 1 could not be done (a message says why), 2 wrong usage.",
    )
    parser.add_argument("--version", action="version", version=f"calscipy {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    info.add_commands(commands)
    convert.add_command(commands)
    stores.add_commands(commands)
    return parser


class _Terminated(KeyboardInterrupt):
    """The system asked the process to end."""


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Let SIGTERM end what runs as Ctrl-C does, so that nothing half-written stays unmarked."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _complain(kind: str, message: object, text: str | None = None) -> None:
    """Write a message, and what was noted on it on the way; one line but for lists."""
    parts = [str(message) if text is None else text, *getattr(message, "__notes__", ())]
    line = ". ".join(part.rstrip(".") for part in parts) if len(parts) > 1 else parts[0]
    print(f"calscipy: {kind}: {one_line(for_shells(line))}", file=sys.stderr)


def _show_warning(message: Warning | str, *_: object, **__: object) -> None:
    _complain("warning", message)
