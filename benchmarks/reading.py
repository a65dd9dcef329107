"""Reading one-frame TIFFs through the lazy movie: ratios from one interleaved run, medians of 5.

    python benchmarks/reading.py [--frames 1000] [--folder PATH] [--cv2 PATH]

Times of one table are comparable with each other only: they were measured in turns, warm. OpenCV is
no dependency: install opencv-python-headless anywhere (pip install --target PATH) and give that
PATH. Files of other programs cost it a warning each, which are kept off.
"""

import argparse
import importlib.util
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import dask
import numpy as np
import tifffile

import calscipy as cs
from calscipy.io.prairieview import frames
from calscipy.testing import tiff_frame

REPEATS = 5
SHAPE = (512, 512)
THREADS = os.cpu_count() or 1
PIXELS_AT = 8
HEIGHTS = (16, 32, 64, 128)
Runs = dict[str, Callable[[], object]]

CV2_ALONE = """
import os, sys, time
sys.path.insert(0, sys.argv[1])
import cv2, numpy as np
names = sorted(name for name in os.listdir(sys.argv[2]) if name.endswith(".tif"))
paths = [os.path.join(sys.argv[2], name) for name in names]
out = np.empty((len(paths), *cv2.imread(paths[0], cv2.IMREAD_UNCHANGED).shape), "u2")
out.fill(1)
start = time.perf_counter()
for at, path in enumerate(paths):
    out[at] = cv2.imread(path, cv2.IMREAD_UNCHANGED)
print(time.perf_counter() - start)
"""


def interleaved(runs: Runs, repeats: int = REPEATS) -> dict[str, float]:
    """Seconds of each run: the median of several rounds, in each of which all take their turn.

    A run that returns a float has timed itself.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):  # the first one warms up
        for name, run in runs.items():
            start = time.perf_counter()
            own = run()
            spent = own if isinstance(own, float) else time.perf_counter() - start
            if turn:
                seconds[name].append(spent)
    return {name: statistics.median(values) for name, values in seconds.items()}


def report(title: str, seconds: dict[str, float], limit: str, goal: str) -> None:
    print(f"{title}\n  goal: {goal}")
    for name, value in seconds.items():
        print(f"  {name:52} {1e3 * value:9.1f} ms   x{value / seconds[limit]:6.2f} of {limit}")


def write_frames(folder: Path, count: int, shape: tuple[int, int] = SHAPE) -> list[str]:
    """Write a plane series of noise with its master XML; return the paths of its frames."""
    draw = np.random.default_rng(0)
    names = [f"m_Cycle00001_Ch2_{n + 1:06d}.ome.tif" for n in range(count)]
    for name in names:
        pixels = draw.integers(0, 8192, shape, dtype="uint16")
        (folder / name).write_bytes(tiff_frame(pixels, description=b"<OME></OME>"))
    rows = "".join(
        f'<Frame relativeTime="{n / 30}" absoluteTime="{n / 30}" index="{n + 1}">'
        f'<File channel="2" channelName="Ch2" filename="{name}" /></Frame>'
        for n, name in enumerate(names)
    )
    keys = zip(("linesPerFrame", "pixelsPerLine"), shape, strict=True)
    state = "".join(f'<PVStateValue key="{key}" value="{size}" />' for key, size in keys)
    (folder / "m.xml").write_text(
        f'<PVScan version="5.6.64.400"><PVStateShard>{state}</PVStateShard>'
        f'<Sequence type="TSeries Timed Element" cycle="1">{rows}</Sequence></PVScan>'
    )
    return [str(folder / name) for name in names]


def first_pixels(block: np.ndarray) -> np.ndarray:
    """Keep one pixel of a chunk, so that a pass holds the chunks in flight alone."""
    return block[:1, :1, :1].copy()


def one_pass(movie: object) -> None:
    """Read a lazy movie once, chunk by chunk."""
    data = movie.data  # type: ignore[attr-defined]
    data.map_blocks(first_pixels, chunks=(1,) * data.ndim).compute()


def raw_preads(paths: list[str], first: int, rows: int, width: int) -> np.ndarray:
    """Read rows of all files into a new array: one open and one read for each file."""
    out = np.empty((len(paths), rows, width), "u2")
    for image, path in zip(out, paths, strict=True):
        file = os.open(path, os.O_RDONLY)
        os.preadv(file, (image,), PIXELS_AT + 2 * width * first)
        os.close(file)
    return out


def cv2_runs(folder: Path, paths: list[str], out: np.ndarray, where: str | None) -> Runs:
    """OpenCV in this process and in one of its own, where its memory is not yet warm."""
    if where is not None:
        sys.path.append(where)
    if importlib.util.find_spec("cv2") is None:
        print("cv2: not installed")
        return {}
    os.environ["OPENCV_LOG_LEVEL"] = "SILENT"
    import cv2

    def here() -> None:
        for at, path in enumerate(paths):
            out[at] = cv2.imread(path, cv2.IMREAD_UNCHANGED)

    def alone() -> float:
        command = [sys.executable, "-c", CV2_ALONE, where or "", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return float(done.stdout)

    return {"cv2.imread per file": here, "cv2.imread per file, process of its own": alone}


def bench_frames(
    folder: Path, paths: list[str], where: str | None = None, repeats: int = REPEATS
) -> dict[str, float]:
    """Seconds of reading all frames by ours and by others; the lazy movie is checked first."""
    height, width = tifffile.imread(paths[0], is_ome=False).shape
    out = np.empty((len(paths), height, width), "u2")
    whole = cs.ImagingSession.open(folder, chunks=None).movie
    lazy = cs.ImagingSession.open(folder, chunks="frames").movie
    assert np.array_equal(lazy, tifffile.imread(paths, is_ome=False))
    lazy[:4].cs.gaussian_filter(sigma=1).compute()  # numba is in use from the first filter on
    buffer = bytearray(os.path.getsize(paths[0]))

    def cat() -> None:
        with open(os.devnull, "wb") as nowhere:
            subprocess.run(["cat", *paths], stdout=nowhere, check=True)

    def one_buffer() -> None:
        for path in paths:
            with open(path, "rb", buffering=0) as stream:
                stream.readinto(buffer)

    def one_by_one() -> None:
        with mock.patch.object(frames, "CAN_READ_ALL", False):
            one_pass(lazy)

    runs: Runs = cv2_runs(folder, paths, out, where)
    runs |= {
        "tifffile.imread(list)": lambda: tifffile.imread(paths, is_ome=False) is None,
        "calscipy, a pass over the chunks": lambda: one_pass(lazy),
        "calscipy, a pass before anything was compiled": one_by_one,
        "calscipy, max over frames": lambda: lazy.max("frames").compute() is None,
        "calscipy, compute(), which joins the chunks": lambda: lazy.compute() is None,
        "calscipy, chunks=None": lambda: whole.copy().load() is None,
        "raw preads into new arrays, one thread": lambda: (
            raw_preads(paths, 0, height, width) is None
        ),
        "readinto one buffer, one thread": one_buffer,
        "cat": cat,
    }
    return interleaved(runs, repeats)


def bench_bands(folder: Path, paths: list[str], repeats: int = REPEATS) -> dict[str, float]:
    """Seconds of reading all frames once in bands of rows, ours and raw, in as many threads."""
    height, width = tifffile.imread(paths[0], is_ome=False).shape
    runs: Runs = {}

    def raw(rows: int) -> None:
        with ThreadPoolExecutor(THREADS) as pool:
            jobs = [
                pool.submit(raw_preads, paths, first, min(rows, height - first), width)
                for first in range(0, height, rows)
            ]
            while jobs:
                jobs.pop(0).result()

    for rows in (n for n in HEIGHTS if n <= height):
        chunks = {"frames": -1, "y": rows}
        movie = cs.ImagingSession.open(folder, chunks=chunks).movie
        runs[f"calscipy, bands of {rows} rows"] = lambda movie=movie: one_pass(movie)
        runs[f"raw preads of {rows} rows"] = lambda rows=rows: raw(rows)
    return interleaved(runs, repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1000, help="frames to read")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder by default")
    parser.add_argument("--cv2", help="folder that OpenCV was installed into")
    arguments = parser.parse_args()
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it warns several times a frame
    with (
        tempfile.TemporaryDirectory(dir=arguments.folder) as name,
        np.errstate(all="ignore"),
        dask.config.set(scheduler="threads", num_workers=THREADS),
    ):
        folder = Path(name)
        paths = write_frames(folder, arguments.frames)
        size = f"{len(paths)} frames of {SHAPE[0]} x {SHAPE[1]}, warm, {THREADS} threads"
        seconds = bench_frames(folder, paths, arguments.cv2)
        goal = "a pass: 1/8 of cv2, 1/4 of tifffile's list, x1.3 of cat"
        report(f"Read {size}", seconds, "cat", goal)
        seconds = bench_bands(folder, paths)
        limit = list(seconds)[-1]
        report(f"Read {size}, in bands over all frames", seconds, limit, "as raw preads")


if __name__ == "__main__":
    main()
