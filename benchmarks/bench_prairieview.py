"""Opening and reading PrairieView recordings: ratios from one interleaved run, medians of 5.

    python benchmarks/bench_prairieview.py [--frames 500] [--listed 100000] [--folder PATH]

Times of one line are comparable with each other only: they were measured in turns, warm.
"""

import argparse
import logging
import os
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import dask
import numpy as np
import tifffile
from lxml import etree

import calscipy as cs
from calscipy.testing import tiff_frame

REPEATS = 5
SHAPE = (512, 512)
NAME = "TSeries-03022023-1227-2098"
DESCRIPTION = b"<OME>" + b" " * 470 + b"</OME>"  # as long as in real files
GOAL_XML, GOAL_READ = 2.5, 1.3


def interleaved(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of each run: the median of several rounds, in each of which all take their turn."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(REPEATS + 1):  # the first one warms up
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def report(title: str, seconds: dict[str, float], limit: str, goal: str) -> None:
    print(f"{title}\n  goal: {goal}")
    for name, value in seconds.items():
        ratio = value / seconds[limit]
        print(f"  {name:44} {1e3 * value:9.1f} ms   x{ratio:6.2f} of {limit}")


def file_name(number: int) -> str:
    return f"{NAME}_Cycle00001_Ch2_{number:06d}.ome.tif"


def master(count: int) -> Iterator[str]:
    """Lines of the master XML of a plane series, 310 bytes for a frame."""
    yield '<?xml version="1.0" encoding="utf-8"?>\n<PVScan version="5.6.64.400" date="" notes="">\n'
    yield f'  <PVStateShard>\n    <PVStateValue key="linesPerFrame" value="{SHAPE[0]}" />\n'
    yield f'    <PVStateValue key="pixelsPerLine" value="{SHAPE[1]}" />\n  </PVStateShard>\n'
    yield '  <Sequence type="TSeries Timed Element" cycle="1" time="16:25:41.1378271">\n'
    for n in range(count):
        yield (
            f'    <Frame relativeTime="{n * 0.0336}" absoluteTime="{n * 0.0336 + 0.148}" '
            f'index="{n + 1}" parameterSet="CurrentSettings">\n      <File channel="2" '
            f'channelName="Ch2" filename="{file_name(n + 1)}" />\n'
            '      <ExtraParameters lastGoodFrame="0" />\n      <PVStateShard />\n    </Frame>\n'
        )
    yield "  </Sequence>\n</PVScan>"


def write_master(folder: Path, count: int) -> Path:
    folder.mkdir()
    xml = folder / f"{NAME}.xml"
    with xml.open("w") as file:
        file.writelines(master(count))
    return xml


def bench_opening(folder: Path, count: int) -> None:
    absent = write_master(folder / "absent", count)
    present = write_master(folder / "present", count)
    length = len(tiff_frame(np.zeros(SHAPE, "uint16"), description=DESCRIPTION))
    for number in range(1, count + 1):
        path = present.parent / file_name(number)
        path.touch()
        os.truncate(path, length)  # sparse

    def bare() -> None:
        for _, element in etree.iterparse(absent):
            element.clear()

    def frames_alone() -> None:
        for _, element in etree.iterparse(absent, tag="Frame"):
            element.clear()

    def ours(xml: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cs.ImagingSession.open(xml, chunks="frames").movie  # noqa: B018

    runs = {
        "bare lxml.iterparse": bare,
        "lxml.iterparse, of frames alone": frames_alone,
        "calscipy, files absent": lambda: ours(absent),
        "calscipy, files present": lambda: ours(present),
    }
    title = f"Open {count} frames ({absent.stat().st_size / 1e6:.0f} MB of XML)"
    report(title, interleaved(runs), "bare lxml.iterparse", f"x{GOAL_XML}, files absent")


def bench_reading(folder: Path, count: int) -> None:
    xml = write_master(folder / "frames", count)
    draw = np.random.default_rng(0)
    paths = [xml.parent / file_name(n + 1) for n in range(count)]
    for path in paths:
        pixels = draw.integers(0, 8192, SHAPE, dtype="uint16")
        path.write_bytes(tiff_frame(pixels, description=DESCRIPTION))
    out = np.empty((count, *SHAPE), "uint16")
    buffer, header = bytearray(paths[0].stat().st_size), bytearray(8)

    def per_file() -> None:
        for at, path in enumerate(paths):
            out[at] = tifffile.imread(path, is_ome=False)

    def raw() -> None:
        for path in paths:
            with path.open("rb", buffering=0) as stream:
                stream.readinto(buffer)

    def raw_array() -> None:
        pixels = np.empty((count, *SHAPE), "uint16")
        for image, path in zip(pixels, paths, strict=True):
            with path.open("rb", buffering=0) as stream:
                os.preadv(stream.fileno(), [header, image], 0)

    def ours(chunks: str | None) -> np.ndarray:
        # A movie without dask keeps what it read, so each run takes a fresh one.
        return np.asarray(opened[chunks].copy().variable._data)

    opened = {
        chunks: cs.ImagingSession.open(xml, chunks=chunks).movie for chunks in (None, "frames")
    }

    def chunk_by_chunk() -> None:
        dask.compute(*opened["frames"].data.to_delayed().ravel())

    limit = "raw read into a new array, one thread"
    runs = {
        "tifffile.imread per file": per_file,
        "calscipy, chunks=None, one thread": lambda: ours(None),
        f"calscipy, dask, {os.cpu_count()} threads, its chunks": chunk_by_chunk,
        f"calscipy, dask, {os.cpu_count()} threads, joined": lambda: ours("frames"),
        limit: raw_array,
        "raw read into one buffer (cat), one thread": raw,
    }
    with np.errstate(all="ignore"), dask.config.set(scheduler="threads"):
        per_file()
        for chunks in opened:
            np.testing.assert_array_equal(ours(chunks), out)
        seconds = interleaved(runs)
    title = f"Read {count} frames of {SHAPE[0]} x {SHAPE[1]}, warm"
    report(title, seconds, limit, f"x{GOAL_READ}, and less than 1/8 of tifffile")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=500, help="frames to read")
    parser.add_argument("--listed", type=int, default=100_000, help="frames in the XML to open")
    parser.add_argument("--folder", type=Path, help="where to write; a temporary folder by default")
    arguments = parser.parse_args()
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # it warns several times a frame
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        bench_opening(Path(folder), arguments.listed)
        bench_reading(Path(folder), arguments.frames)


if __name__ == "__main__":
    main()
