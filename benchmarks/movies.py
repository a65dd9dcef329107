"""Work on movies against what a user would write otherwise: ratios from one interleaved run.

    python benchmarks/movies.py [--frames 200] [--shape 512] [--repeats 5]

Times are medians of several rounds, in each of which every run takes its turn, warm. They are
comparable with each other only. Alternatives run in one thread unless they are dask's. dask-image
is no dependency: its row says so where it is not installed.
"""

import argparse
import importlib.util
from typing import Any

import dask.array as da
import numpy as np
import scipy.fft
from ratios import THREADS, Copy, Row, measured, show
from scipy import ndimage, sparse

import calscipy as cs

CHUNK_BYTES = 32 * 2**20
SLOW_FRAMES = 16  # that alternatives of many seconds run on
NEURONS, RADIUS = 500, 6
GAUSSIAN_ROUNDING = 4.0  # counts by which three passes in uint16 may be off


def make_movie(frames: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Make a scene that moves by whole pixels, with shot noise; return it and its shifts."""
    draw = np.random.default_rng(0)
    scene = ndimage.gaussian_filter(draw.normal(size=shape), 2)
    scene = 500 + 300 * scene / scene.std()
    shifts = draw.integers(-2, 3, (frames, 2))
    movie = np.empty((frames, *shape), "uint16")
    for frame, shift in zip(movie, shifts, strict=True):
        moved = np.roll(scene, shift, (0, 1)).clip(0)
        frame[:] = draw.poisson(moved)
    return movie, shifts


def make_labels(shape: tuple[int, int]) -> np.ndarray:
    """Return round regions (neuron, pixel of the flat image) as two columns; they overlap."""
    draw = np.random.default_rng(1)
    y, x = np.mgrid[-RADIUS : RADIUS + 1, -RADIUS : RADIUS + 1]
    disk = np.argwhere(y**2 + x**2 <= RADIUS**2) - RADIUS
    centres = draw.integers(RADIUS, np.array(shape) - RADIUS, (NEURONS, 2))
    pixels = (centres[:, None] + disk).reshape(-1, 2)
    neurons = np.repeat(np.arange(NEURONS), len(disk))
    return np.stack([neurons, np.ravel_multi_index(tuple(pixels.T), shape)], axis=1)


class Movie:
    """The movie of all rows: as an array, labelled, and in chunks."""

    def __init__(self, frames: int, shape: tuple[int, int]) -> None:
        self.array, self.shifts = make_movie(frames, shape)
        self.eager = cs.from_numpy(self.array, frame_rate=30)
        length = max(1, CHUNK_BYTES // self.array[0].nbytes)
        self.chunks = da.from_array(self.array, chunks=(length, *shape), name="movie")
        self.lazy = self.eager.copy(data=self.chunks)
        self.few = self.array[:SLOW_FRAMES]
        self.share = len(self.few) / frames


def filter_rows(movie: Movie) -> list[Row]:
    def same_medians(ours: Any, theirs: Any) -> None:
        np.testing.assert_array_equal(ours[: len(theirs) - 1], theirs[:-1])

    def close(ours: Any, theirs: Any) -> None:
        inside = slice(0, max(1, len(movie.few) - 4))
        exact = ndimage.gaussian_filter(movie.few.astype("f8"), 1.0)[inside]
        if len(movie.few) == len(movie.array):
            exact = ndimage.gaussian_filter(movie.few.astype("f8"), 1.0)
            inside = slice(None)
        np.testing.assert_allclose(ours[inside], exact, rtol=1e-6)
        if theirs is not None:
            np.testing.assert_allclose(theirs[inside], exact, atol=GAUSSIAN_ROUNDING, rtol=0)

    def same(ours: Any, theirs: Any) -> None:
        np.testing.assert_array_equal(ours, theirs)

    def near(ours: Any, theirs: Any) -> None:
        if theirs is not None:
            np.testing.assert_allclose(theirs, ours, atol=GAUSSIAN_ROUNDING, rtol=0)

    def smooth(data: Any) -> Any:
        return cs.gaussian_filter(data, sigma=1)

    def median(data: Any) -> Any:
        return cs.median_filter(data, size=3)

    dask_image = dask_image_max = None
    if importlib.util.find_spec("dask_image"):
        from dask_image.ndfilters import gaussian_filter

        def dask_image() -> np.ndarray:
            return gaussian_filter(movie.chunks, 1).compute()

        def dask_image_max() -> np.ndarray:
            return gaussian_filter(movie.chunks, 1).max(axis=0).compute()

    return [
        Row(
            "median 3x3x3",
            "scipy.ndimage.median_filter",
            lambda: median(movie.eager).values,
            lambda: ndimage.median_filter(movie.few, 3),
            same_medians,
            faster=80,
            share=movie.share,
        ),
        Row(
            "Gaussian sigma 1",
            "scipy.ndimage.gaussian_filter, uint16",
            lambda: smooth(movie.eager).values,
            lambda: ndimage.gaussian_filter(movie.array, 1),
            close,
            faster=8,
        ),
        Row(
            "Gaussian sigma 1, lazy, joined",
            "dask_image.ndfilters.gaussian_filter, uint16",
            lambda: smooth(movie.lazy).values,
            dask_image,
            close,
        ),
        Row(
            "Gaussian sigma 1, lazy, then max",
            "dask_image.ndfilters.gaussian_filter, max",
            lambda: smooth(movie.lazy).max("frames").values,
            dask_image_max,
            near,
            faster=8,
        ),
        Row(
            "Gaussian sigma 1, then max, lazy",
            "the same in memory",
            lambda: smooth(movie.lazy).max("frames").values,
            lambda: smooth(movie.eager).max("frames").values,
            same,
            slower=1.5,
        ),
        Row(
            "median 3x3x3, then max, lazy",
            "the same in memory",
            lambda: median(movie.lazy).max("frames").values,
            lambda: median(movie.eager).max("frames").values,
            same,
            slower=1.5,
        ),
    ]


def reduction_rows(movie: Movie) -> list[Row]:
    frames = len(movie.array)
    width = 10
    full = movie.eager[: frames - frames % width] if frames >= width else movie.eager
    width = min(width, frames)

    def same_mean(ours: Any, theirs: Any) -> None:
        np.testing.assert_allclose(ours["mean"] * frames, theirs, rtol=1e-12)

    def close(ours: Any, theirs: Any) -> None:
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)

    rois = make_labels(movie.array.shape[1:])
    across = movie.array.shape[2]
    pixels = {
        neuron: tuple(np.divmod(rois[rois[:, 0] == neuron, 1], across)) for neuron in range(NEURONS)
    }
    long_form = cs.rois_from_pixels(pixels)
    counts = np.bincount(rois[:, 0], minlength=NEURONS)
    weights = sparse.csr_array(
        (1.0 / counts[rois[:, 0]], (rois[:, 0], rois[:, 1])),
        shape=(NEURONS, movie.array[0].size),
    )
    length = movie.chunks.chunks[0][0]

    def matrix_product() -> np.ndarray:
        parts = [movie.array[at : at + length] for at in range(0, frames, length)]
        return np.concatenate([weights @ p.reshape(len(p), -1).T for p in parts], axis=1)

    return [
        Row(
            "summary, lazy",
            "dask float64 sum over frames",
            lambda: cs.summary(movie.lazy).compute(),
            lambda: movie.chunks.sum(axis=0, dtype="f8").compute(),
            same_mean,
            slower=3,
        ),
        Row(
            f"extract {NEURONS} ROIs",
            "CSR @ block.T",
            lambda: cs.extract(movie.eager, long_form).values,
            matrix_product,
            close,
            faster=6,
        ),
        Row(
            f"bin, mean of {width} frames",
            "xarray coarsen().mean()",
            lambda: cs.bin(full, frames=width).values,
            lambda: full.coarsen(frames=width).mean().values,
            close,
        ),
    ]


def motion_rows(movie: Movie) -> list[Row]:
    few, shape = movie.few, movie.array.shape[1:]
    template = np.median(movie.array[: min(64, len(movie.array))], axis=0)
    found = cs.estimate_shifts(movie.eager)
    moves = np.stack([found.y_shift.values, found.x_shift.values], axis=1)
    inside = (slice(None), *(slice(8, n - 8) for n in shape))

    def cross_correlation() -> np.ndarray:
        reference = scipy.fft.rfft2(template - template.mean()).conj()
        places = []
        for frame in few:
            product = scipy.fft.rfft2(frame - frame.mean()) * reference
            peak = np.unravel_index(scipy.fft.irfft2(product, shape).argmax(), shape)
            places.append([(p + n // 2) % n - n // 2 for p, n in zip(peak, shape, strict=True)])
        return np.array(places)

    def near_the_truth(ours: Any, theirs: Any) -> None:
        ours = np.stack([ours.y_shift.values, ours.x_shift.values], axis=1)
        for shifts in (ours, theirs):
            off = shifts - movie.shifts[: len(shifts)]
            assert np.abs(off - np.median(off, axis=0)).max() < 1.1

    def spline() -> np.ndarray:
        frames = zip(few, moves, strict=False)
        return np.stack([ndimage.shift(frame.astype("f4"), -move) for frame, move in frames])

    def alike(ours: Any, theirs: Any) -> None:
        images = [np.mean(stack[: len(theirs)][inside], axis=0).ravel() for stack in (ours, theirs)]
        assert np.corrcoef(images)[0, 1] > 0.99

    return [
        Row(
            "estimate_shifts, sub-pixel",
            "scipy.fft cross-correlation, whole pixels",
            lambda: cs.estimate_shifts(movie.eager),
            cross_correlation,
            near_the_truth,
            share=movie.share,
        ),
        Row(
            "apply_shifts",
            "scipy.ndimage.shift of each frame",
            lambda: cs.apply_shifts(movie.eager, found).values,
            spline,
            alike,
            share=movie.share,
        ),
    ]


def main(frames: int = 200, shape: tuple[int, int] = (512, 512), repeats: int = 5) -> list[dict]:
    """Check that all variants agree, time them in turns and print the table."""
    movie = Movie(frames, shape)
    rows = [*filter_rows(movie), *reduction_rows(movie), *motion_rows(movie)]
    table = measured(rows, Copy(movie.array), repeats)
    title = (
        f"{frames} frames of {shape[0]} x {shape[1]} uint16, {THREADS} threads, chunks of "
        f"{movie.chunks.chunks[0][0]} frames, medians of {repeats}"
    )
    show(table, title, f"{len(movie.few)} frames" if movie.share < 1 else None)
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--shape", type=int, nargs="+", default=[512], help="height and width")
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    main(given.frames, (given.shape[0], given.shape[-1]), given.repeats)
