"""What can go wrong, each with a message that says what was wanted, what came and what to do."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence


class CalscipyError(Exception):
    """Base of every error that calscipy raises on purpose."""


class DimensionError(CalscipyError, ValueError):
    """An array lacks the dimensions that an operation needs."""


class ArgumentError(CalscipyError, ValueError):
    """An argument is out of range, unknown, or ignored by the chosen method."""


class RowError(ArgumentError):
    """Some rows that a kernel was given cannot be worked on.

    Parameters
    ----------
    rows : sequence of int
        Which ones; ``blocks`` says which neurons or pixels these are.
    reason : str
        What is wrong with them and what to do, to follow their names.

    Examples
    --------
    >>> str(RowError([0, 3], "have missing samples. Fill the gaps first."))
    'rows 0, 3 have missing samples. Fill the gaps first.'
    """

    def __init__(self, rows: Sequence[int], reason: str) -> None:
        super().__init__(rows, reason)
        self.rows = [int(row) for row in rows]
        self.reason = reason

    def __str__(self) -> str:
        return f"rows {first_few(self.rows, 10)} {self.reason}"


class TimeAxisError(CalscipyError, ValueError):
    """The time axis is missing, not increasing, or not regular enough."""


class ChunkError(CalscipyError, ValueError):
    """The chunking stands in the way and rechunking would not fit into memory."""


class DeviceError(CalscipyError, RuntimeError):
    """No usable GPU, or not enough memory on it."""


class RecordingError(CalscipyError, OSError):
    """A recording cannot be read, or is not what it says it is."""


class FrameError(RecordingError):
    """The file of one frame is damaged."""


class StoreError(CalscipyError, OSError):
    """A store is incomplete, of another version, or cannot be written."""


class RoiError(CalscipyError, ValueError):
    """ROIs do not fit the movie, or their file is not what it says it is."""


class TargetExistsError(StoreError, FileExistsError):
    """The target of an export exists; calscipy never writes over anything."""


class UnfinishedError(StoreError):
    """An unfinished save, of this or another process, stands in the way."""


class CalscipyWarning(UserWarning):
    """Base of every warning that calscipy gives."""


class DamagedRecordingWarning(CalscipyWarning):
    """Part of a recording is missing or damaged and is masked in ``valid``."""


class BaselineWarning(CalscipyWarning):
    """Some baselines are too low to divide by."""


class StoreWarning(CalscipyWarning):
    """A store may not fit on the disk."""


class DeviceWarning(CalscipyWarning):
    """``device="auto"`` fell back to the CPU."""


def first_few(names: Sequence[object], count: int = 3) -> str:
    """Name the first few of a list and count the rest.

    Examples
    --------
    >>> first_few(["a", "b", "c", "d"])
    'a, b, c and 1 more'
    """
    shown = ", ".join(str(name) for name in names[:count])
    rest = len(names) - count
    return shown if rest <= 0 else f"{shown} and {rest} more"


def warn(message: str, category: type[CalscipyWarning]) -> None:
    """Warn at the line of the user's code that led here."""
    level = 1
    frame = sys._getframe()
    while frame is not None and frame.f_globals.get("__name__", "").startswith("calscipy."):
        frame = frame.f_back  # type: ignore[assignment]
        level += 1
    warnings.warn(message, category, stacklevel=level)
