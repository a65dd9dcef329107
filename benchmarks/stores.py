"""Stores against plain zarr, a raw copy and tifffile, writing and reading.

    python benchmarks/stores.py [frames] [side] [folder]

The movie is lazy and noisy as recordings are: 13 bits that shrink by a third. `save` flushes all
to the disk and keeps checksums, which none of the others does. Each begins with an idle disk.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import tifffile
import zarr
from ratios import Copy, Row, measured, show

import calscipy as cs
from calscipy.io.store.layout import plan_store

BLOCK_FRAMES = 64


class Movie:
    """A lazy movie that costs no more to make than an addition."""

    def __init__(self, frames: int, side: int) -> None:
        rng = np.random.default_rng(0)
        shape = (BLOCK_FRAMES, side, side)
        base = rng.poisson(rng.gamma(2.0, 40.0, (side, side)), shape) * 8
        self.base = (base + rng.normal(100, 12, shape)).clip(0, 8191).astype("u2")
        lengths = (BLOCK_FRAMES,) * (frames // BLOCK_FRAMES)  # whole blocks only
        data = da.map_blocks(
            self.block,
            chunks=(lengths, (side,), (side,)),
            dtype="u2",
            meta=np.empty((0, 0, 0), "u2"),
        )
        self.array = cs.from_numpy(data, frame_rate=30)

    def block(self, block_info: Any = None) -> np.ndarray:
        return self.base + np.uint16(block_info[None]["chunk-location"][0] % 7)


class Targets:
    """Names in a folder, fresh each time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, name: str) -> Path:
        remove(self.folder / name)
        return self.folder / name

    def clear(self) -> None:
        """Remove everything and wait for the disk, which the next writer begins with idle."""
        for path in self.folder.iterdir():
            remove(path)
        os.sync()


def remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)


def writers(movie: Movie, new: Targets) -> dict[str, Callable[[], Path]]:
    """Every way to write the movie; each returns what it wrote."""
    array = movie.array
    plan = plan_store({"movie": array.to_dataset(name="movie")}, {}, "hybrid")

    def save() -> Path:
        return array.cs.to_zarr(new("save.zarr"), progress=False)

    def plain() -> Path:
        path = new("plain.zarr")
        array.to_dataset(name="movie").to_zarr(path, consolidated=False, zarr_format=3)
        return path

    def same_codecs() -> Path:
        path = new("codecs.zarr")
        plan.datasets["movie"].to_zarr(
            path, encoding=plan.encoding["movie"], consolidated=False, zarr_format=3,
            write_empty_chunks=True,
        )  # fmt: skip
        return path

    def raw() -> Path:
        path = new("raw.bin")
        with open(path, "wb") as file:
            for block in array.data.to_delayed().ravel():
                block.compute().tofile(file)
        return path

    def tiff() -> Path:
        path = new("movie.tif")
        with tifffile.TiffWriter(path, bigtiff=True) as file:
            for block in array.data.to_delayed().ravel():
                file.write(block.compute(), contiguous=True)
        return path

    return {
        "save": save, "to_zarr": plain, "codecs": same_codecs, "raw": raw, "tiff": tiff
    }  # fmt: skip


def opened(path: Path) -> Any:
    """The pixels in what a writer wrote."""
    if path.suffix == ".bin":
        return None
    if path.suffix == ".tif":
        pixels = tifffile.memmap(path, mode="r")  # (block, frame, y, x)
        return pixels.reshape(-1, *pixels.shape[-2:])
    group = zarr.open_group(path, mode="r")
    return group["movie/movie"] if path.name == "save.zarr" else group["movie"]


def agree(ours: Path, theirs: Path) -> None:
    """Compare a few frames of what was written."""
    first, second = opened(ours), opened(theirs)
    if second is None:
        assert theirs.stat().st_size == 2 * np.prod(first.shape)
        return
    for frame in (0, first.shape[0] // 2, first.shape[0] - 1):
        np.testing.assert_array_equal(first[frame], second[frame])


def write_rows(movie: Movie, new: Targets) -> list[Row]:
    ways = writers(movie, new)
    goals: dict[str, tuple[str, dict[str, float]]] = {
        "to_zarr": ("xarray to_zarr, defaults", {"faster": 2}),
        "codecs": ("same codecs, no journal", {"slower": 1.3}),
        "raw": ("raw copy, one thread", {}),
        "tiff": ("tifffile, one thread", {}),
    }
    return [
        Row(f"save : {name}", other, ways["save"], ways[name], agree, **goal)
        for name, (other, goal) in goals.items()
    ]


def read_rows(movie: Movie, new: Targets) -> list[Row]:
    stores = {
        chunks: zarr.open_array(
            movie.array.cs.to_zarr(new(f"{chunks}.zarr"), chunks=chunks, progress=False)
            / "movie/movie",
            mode="r",
        )
        for chunks in ("hybrid", "frames")
    }
    frames, y, x = movie.array.shape
    at = slice(y // 2, y // 2 + 4), slice(x // 2, x // 2 + 4)
    few = slice(frames // 2, frames // 2 + 10)
    same = np.testing.assert_array_equal

    def course(chunks: str) -> Callable[[], np.ndarray]:
        return lambda: stores[chunks][(slice(None), *at)]

    def images(chunks: str) -> Callable[[], np.ndarray]:
        return lambda: stores[chunks][few]

    other = "frame chunks of 8"
    return [
        Row("read 16 pixels over time", other, course("hybrid"), course("frames"), same, faster=10),
        Row("read 10 frames", other, images("hybrid"), images("frames"), same, slower=4),
    ]


def main(
    frames: int = 4096, side: int = 512, folder: str | None = None, repeats: int = 3
) -> list[dict[str, Any]]:
    """Print the table and return its lines."""
    movie = Movie(frames, side)
    copy = Copy(movie.base)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        new = Targets(Path(place))
        table = measured(write_rows(movie, new), copy, repeats, before=new.clear)
        table += measured(read_rows(movie, new), copy, repeats)
    size = frames * side * side * 2 / 1e9
    show(table, f"Stores of a movie of {frames} x {side} x {side}, {size:.2g} GB")
    return table


if __name__ == "__main__":
    given = sys.argv[1:]
    main(*(int(value) for value in given[:2]), **({"folder": given[2]} if given[2:] else {}))
