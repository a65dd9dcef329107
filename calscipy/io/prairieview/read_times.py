"""Times of the frames of a recording, without anything else of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from calscipy.errors import RecordingError
from calscipy.io.prairieview import find_master
from calscipy.io.prairieview.acquisition_times import frame_times
from calscipy.io.prairieview.kinds import is_line_scan
from calscipy.io.prairieview.recording import arrange
from calscipy.io.prairieview.scan import read_scan


def read_frame_times(path: Path) -> np.ndarray:
    """Read when the frames (volumes) of a movie were taken; no image file is looked for.

    Parameters
    ----------
    path : Path
        Master XML of the recording, or its folder.

    Returns
    -------
    ndarray of float64, shape (frames,)
        In s after the first one: the ``time`` of the movie.

    Raises
    ------
    RecordingError
        If the XML lists no movie, or cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> from calscipy.testing import write_recording
    >>> truth = write_recording(tempfile.mkdtemp(), frames=3, neurons=1, frame_rate=10)
    >>> read_frame_times(truth.xml).round(6).tolist()
    [0.0, 0.1, 0.2]
    """
    scan = read_scan(find_master(path))
    movie = [one for one in scan.sequences if one.frames and not is_line_scan(one)]
    if not movie:
        raise RecordingError(f"{path}: the XML lists no frames of a movie. Check the path.")
    times, _ = frame_times(scan, arrange(scan, movie))
    first = np.nanmin(times, axis=1)
    return np.asarray(first - first.min())
