"""`calscipy.compat` against the same functions run naively: ratios from one interleaved run.

    python benchmarks/compat.py [--neurons 200] [--samples 20000] [--frames 120] [--repeats 5]

The naive functions are those that the tests compare with, `tests/compat/reference.py`: the
definitions of CalSciPy 0.3.5 in plain NumPy and SciPy. Times are medians of several rounds, in each
of which every run takes its turn, warm. Calls of a few microseconds (names, single numbers,
objects) are left out: there is nothing to win or to lose.
"""

import argparse
import importlib.util
import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ratios import THREADS, Copy, Row, measured, show
from sklearn.preprocessing import StandardScaler

from calscipy.compat import (
    CompatWarning,
    event_processing,
    image_processing,
    io_tools,
    misc,
    optogenetics,
    reorganization,
    trace_processing,
)
from calscipy.compat.bruker import data
from calscipy.testing import synthetic_traces, write_recording
from calscipy.testing._voltage import write_voltage

REFERENCE = Path(__file__).parents[1] / "tests" / "compat" / "reference.py"
FRAME_RATE = 30.0
PER_NEURON = 100  # events
SLOW = 20  # rows that the slowest of the naive functions run on


def load_reference() -> Any:
    spec = importlib.util.spec_from_file_location("compat_reference", REFERENCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Scene:
    """What the functions are run on."""

    def __init__(self, neurons: int, samples: int, frames: int, shape: tuple[int, int]) -> None:
        rng = np.random.default_rng(0)
        truth = synthetic_traces(neurons, samples / FRAME_RATE, FRAME_RATE, drift=0.1)
        self.traces = np.ascontiguousarray(truth.traces.values[:, :samples], "f4")
        self.dfof = self.traces / np.float32(500) - 1
        self.rates = rng.random(self.traces.shape, dtype="f4")
        count = min(PER_NEURON, samples // 4)
        picks = [np.sort(rng.choice(samples, count, replace=False)) for _ in range(neurons)]
        self.events = picks
        self.lists = [some.tolist() for some in picks]
        self.chunk = samples // 20
        self.tensor = np.stack(np.split(self.traces[:, : 20 * self.chunk], 20, axis=1))
        self.factors = [
            [rng.random((3, 500), dtype="f4") for _ in range(10)] for _ in range(neurons)
        ]
        self.images = rng.integers(0, 4000, (frames, *shape), dtype="u2")
        self.waveforms = [
            np.lib.stride_tricks.sliding_window_view(row[:400], 200)[::10].copy()
            for row in self.traces[:40]
        ]
        self.few = min(neurons, SLOW)
        self.share = self.few / neurons


def close(rtol: float = 1e-5, atol: float = 1e-6) -> Any:
    def agree(ours: Any, theirs: Any) -> None:
        if isinstance(ours, tuple):
            ours, theirs = np.concatenate(ours), np.concatenate(theirs)
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol)

    return agree


def first_rows(rtol: float, atol: float) -> Any:
    def agree(ours: np.ndarray, theirs: np.ndarray) -> None:
        np.testing.assert_allclose(ours[: len(theirs)], theirs, rtol=rtol, atol=atol)

    return agree


def lists_agree(ours: Any, theirs: Any) -> None:
    assert list(ours)[: len(theirs)] == list(theirs)


def trace_rows(scene: Scene, naive: Any) -> list[Row]:
    few = scene.traces[: scene.few]
    share = scene.share

    def row(name: str, ours: Any, theirs: Any, atol: float) -> Row:
        how = first_rows(1e-3, atol)
        return Row(name, "the definition, row by row", ours, theirs, how, faster=1, share=share)

    module = trace_processing
    return [
        row(
            "calculate_dfof",
            lambda: module.calculate_dfof(scene.traces),
            lambda: naive.calculate_dfof(few),
            1e-4,
        ),
        Row(
            "calculate_standardized_noise",
            "the definition, row by row",
            lambda: module.calculate_standardized_noise(scene.dfof),
            lambda: naive.calculate_standardized_noise(scene.dfof),
            close(),
            faster=1,
        ),
        row(
            "detrend_polynomial",
            lambda: module.detrend_polynomial(scene.traces),
            lambda: naive.detrend_polynomial(few),
            0.05,
        ),
        row(
            "perona_malik_diffusion",
            lambda: module.perona_malik_diffusion(scene.traces),
            lambda: naive.perona_malik_diffusion(few),
            0.05,
        ),
    ]


def event_rows(scene: Scene, naive: Any) -> list[Row]:
    module, few = event_processing, scene.traces[: scene.few]

    def row(name: str, ours: Any, theirs: Any, agree: Any = None, share: float = 1.0) -> Row:
        how = close() if agree is None else agree
        return Row(name, "the definition, naively", ours, theirs, how, faster=1, share=share)

    binned = [
        row(
            f"bin_data, {function.__name__}",
            lambda function=function: module.bin_data(scene.traces, 10, function),
            lambda function=function: naive.bin_data(few, 10, function),
            first_rows(1e-4, 1e-3),
            scene.share,
        )
        for function in (np.mean, np.sum, np.median, np.std, np.max, np.ptp)
    ]
    return [
        *binned,
        row(
            "calculate_firing_rates",
            lambda: module.calculate_firing_rates(scene.rates),
            lambda: naive.calculate_firing_rates(scene.rates),
        ),
        row(
            "calculate_mean_firing_rates",
            lambda: module.calculate_mean_firing_rates(scene.rates),
            lambda: naive.calculate_mean_firing_rates(scene.rates),
        ),
        row(
            "collect_waveforms",
            lambda: module.collect_waveforms(scene.traces, scene.events, 15, 45),
            lambda: naive.collect_waveforms(scene.traces, scene.events, 15, 45),
        ),
        row(
            "get_event_onset_intensities",
            lambda: module.get_event_onset_intensities(scene.traces, scene.lists),
            lambda: naive.get_event_onset_intensities(scene.traces, scene.lists),
        ),
        row(
            "get_inter_event_intervals",
            lambda: module.get_inter_event_intervals(scene.lists),
            lambda: naive.get_inter_event_intervals(scene.lists),
        ),
        row(
            "get_num_events",
            lambda: module.get_num_events(scene.lists),
            lambda: naive.get_num_events(scene.lists),
        ),
        row(
            "identify_events",
            lambda: module.identify_events(scene.traces),
            lambda: naive.identify_events(few),
            lists_agree,
            scene.share,
        ),
        row(
            "normalize_firing_rates",
            lambda: module.normalize_firing_rates(scene.rates),
            lambda: naive.normalize_firing_rates(scene.rates),
        ),
        row(
            "scale_waveforms",
            lambda: module.scale_waveforms(scene.waveforms),
            lambda: naive.scale_waveforms(scene.waveforms, StandardScaler),
            close(1e-3, 1e-4),
        ),
    ]


def movie_rows(scene: Scene, naive: Any) -> list[Row]:
    module = image_processing
    return [
        Row(
            "gaussian_filter",
            "scipy.ndimage on float32",
            lambda: module.gaussian_filter(scene.images),
            lambda: naive.gaussian_filter(scene.images),
            close(1e-4, 1e-2),
            faster=1,
        ),
        Row(
            "median_filter",
            "scipy.ndimage with the footprint",
            lambda: module.median_filter(scene.images),
            lambda: naive.median_filter(scene.images),
            np.testing.assert_array_equal,
            faster=1,
        ),
    ]


def shape_rows(scene: Scene, naive: Any) -> list[Row]:
    samples = scene.traces.shape[1]
    whole = scene.traces[:, : 20 * scene.chunk]
    lists = scene.lists
    rows = [
        (
            "generate_raster",
            lambda: reorganization.generate_raster(lists, samples),
            lambda: naive.generate_raster(lists, samples),
        ),
        (
            "generate_tensor",
            lambda: reorganization.generate_tensor(whole, scene.chunk),
            lambda: naive.generate_tensor(whole, scene.chunk),
        ),
        (
            "merge_tensor",
            lambda: reorganization.merge_tensor(scene.tensor),
            lambda: naive.merge_tensor(scene.tensor),
        ),
        (
            "merge_factorized_matrices",
            lambda: reorganization.merge_factorized_matrices(scene.factors),
            lambda: naive.merge_factorized_matrices(scene.factors),
        ),
        (
            "generate_blocks",
            lambda: [block[0] for block in misc.generate_blocks(range(samples), 50, 10)],
            lambda: [block[0] for block in naive.generate_blocks(list(range(samples)), 50, 10)],
        ),
        (
            "generate_sliding_window",
            lambda: misc.generate_sliding_window(scene.traces[0], 100),
            lambda: naive.generate_sliding_window(scene.traces[0], 100),
        ),
        (
            "generate_time_vector",
            lambda: misc.generate_time_vector(samples),
            lambda: naive.generate_time_vector(samples),
        ),
        (
            "sliding_window, mean",
            lambda: misc.sliding_window(scene.traces[0], 50, np.mean),
            lambda: naive.sliding_window(scene.traces[0], 50, np.mean),
        ),
        (
            "sliding_window, any function",
            lambda: misc.sliding_window(scene.traces[0], 50, first),
            lambda: naive.sliding_window(scene.traces[0], 50, first),
        ),
    ]
    return [
        Row(name, "the definition, naively", ours, theirs, close(), faster=1)
        for name, ours, theirs in rows
    ]


def analog_signals(samples: int) -> dict[str, np.ndarray]:
    at = np.arange(samples)
    return {name: np.sin(at / period) for name, period in (("LFP", 7), ("lick", 50), ("run", 900))}


def first(values: np.ndarray) -> float:
    return values[0] + values[-1]


def file_rows(scene: Scene, naive: Any, folder: Path, scans: int) -> list[Row]:
    number = iter(range(10**6))
    images = np.tile(scene.images, (4, 1, 1))

    def new(suffix: str) -> Path:
        return folder / f"file{next(number)}{suffix}"

    binary, stack = folder / "read.bin", folder / "read.tif"
    io_tools.save_binary(binary, images)
    naive.save_images(stack, images)
    recording = write_recording(folder / "mouse", frames=scans, shape=(32, 32), neurons=1)
    analog = write_voltage(recording.folder, analog_signals(100 * scans), rate=1000)
    times = data.extract_frame_times(recording.xml).index.to_numpy()
    table = data.load_voltage_recording(analog.table)
    frames = data.extract_frame_times(recording.xml)
    mask = ((100, 120), (40, 30), (256, 256))
    rows = [
        ("load_binary", lambda: io_tools.load_binary(binary), lambda: naive.load_binary(binary)),
        (
            "save_binary",
            lambda: io_tools.save_binary(new(".bin"), images),
            lambda: naive.save_binary(new(".bin"), images),
        ),
        ("load_images", lambda: io_tools.load_images(stack), lambda: naive.load_images(stack)),
        (
            "save_images",
            lambda: io_tools.save_images(new(".tif"), images),
            lambda: naive.save_images(new(".tif"), images),
        ),
        (
            "load_bruker_tifs",
            lambda: data.load_bruker_tifs(recording.folder)[0],
            lambda: naive.load_bruker_tifs(recording.folder, 1),
        ),
        (
            "extract_frame_times",
            lambda: data.extract_frame_times(recording.xml).index.to_numpy(),
            lambda: naive.extract_frame_times(recording.xml),
        ),
        (
            "load_voltage_recording",
            lambda: data.load_voltage_recording(analog.table).to_numpy(),
            lambda: naive.load_voltage_recording(analog.table).to_numpy(),
        ),
        (
            "align_data",
            lambda: data.align_data(table, frames)[data.FRAME].to_numpy(),
            lambda: naive.align_data(table.index.to_numpy(), times),
        ),
        (
            "calculate_mask",
            lambda: optogenetics.calculate_mask(*mask),
            lambda: naive.calculate_mask(*mask),
        ),
        (
            "calculate_vertices",
            lambda: optogenetics.calculate_vertices(optogenetics.calculate_mask(*mask)).sum(),
            lambda: naive.calculate_vertices(optogenetics.calculate_mask(*mask)).sum(),
        ),
    ]
    return [
        Row(name, "the definition, naively", ours, theirs, close(1e-4, 1e-4), faster=1)
        for name, ours, theirs in rows
    ]


def main(
    neurons: int = 200,
    samples: int = 20_000,
    frames: int = 120,
    shape: tuple[int, int] = (256, 256),
    repeats: int = 5,
    scans: int = 2000,
) -> list[dict[str, Any]]:
    """Print the table and return its lines."""
    logging.getLogger("tifffile").setLevel(logging.ERROR)  # of tags that nobody reads
    naive = load_reference()
    scene = Scene(neurons, samples, frames, shape)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", CompatWarning)
        tables = [
            measured(rows, Copy(scene.traces), repeats)
            for rows in (
                trace_rows(scene, naive),
                event_rows(scene, naive),
                movie_rows(scene, naive),
                shape_rows(scene, naive),
                file_rows(scene, naive, Path(folder), scans),
            )
        ]
    table = [line for part in tables for line in part]
    show(
        table,
        f"{neurons} neurons x {samples} samples, {frames} frames of {shape[0]} x {shape[1]}, "
        f"{THREADS} threads",
        f"{scene.few} rows",
    )
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--neurons", type=int, default=200)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--repeats", type=int, default=5)
    main(**vars(parser.parse_args()))
