"""Work on traces against the loops of CalSciPy 0.3.5 and its like: ratios from one interleaved run.

    python benchmarks/traces.py [--neurons 500] [--samples 50000] [--repeats 3] [--oasis PATH]

Times are medians of several rounds, in each of which every run takes its turn, warm. They are
comparable with each other only. Alternatives run in one thread. oasis-deconv is no dependency:
install it anywhere (pip install --target PATH oasis-deconv) and give that PATH.
"""

import argparse
import importlib.util
import sys
from typing import Any

import numpy as np
import pandas as pd
from ratios import THREADS, Copy, Row, measured, show
from scipy import ndimage, signal

import calscipy as cs
from calscipy.testing import synthetic_traces

FRAME_RATE = 30.0
SLOW_ROWS = 20  # that alternatives of many seconds run on
BIN = 10  # samples
WINDOW = 30.0  # s
DECAY = 0.7  # s
PENALTY = 5.0


class Traces:
    """The traces of all rows: as an array, labelled, and their ΔF/F."""

    def __init__(self, neurons: int, samples: int) -> None:
        truth = synthetic_traces(neurons, samples / FRAME_RATE, FRAME_RATE, drift=0.1)
        self.labelled = truth.traces
        self.array = truth.traces.values
        self.dfof = truth.dfof.astype("f4").copy(data=self.array / np.float32(500) - 1)
        self.dfof.attrs["units"] = "1"
        self.few = min(SLOW_ROWS, neurons)
        self.share = self.few / neurons


def low_pass_loop(rows: np.ndarray) -> np.ndarray:
    """ΔF/F row by row, by the definition of CalSciPy 0.3.5."""
    out = np.empty_like(rows)
    taps = min(30, rows.shape[1] // 3)
    taps -= taps % 2 == 0
    for row, target in zip(rows, out, strict=True):
        weights = signal.firwin(taps, 1.0, fs=FRAME_RATE, window="hamming")
        smooth = signal.filtfilt(weights, [1.0], row, padlen=3 * taps)
        f0 = np.percentile(smooth, 5)
        target[:] = (row - f0) / f0
    return out


def rolling_loop(rows: np.ndarray, window: int) -> np.ndarray:
    return np.stack([ndimage.percentile_filter(row, 8, size=window) for row in rows])


def polyfit_loop(rows: np.ndarray) -> np.ndarray:
    """A quartic subtracted row by row."""
    out = np.empty_like(rows)
    at = np.arange(rows.shape[1])
    for row, target in zip(rows, out, strict=True):
        target[:] = row - np.polyval(np.polyfit(at, row, 4), at)
    return out


def perona_malik_loop(rows: np.ndarray) -> np.ndarray:
    """All rows at once, 25 iterations in float64."""
    u = rows.astype("f8")
    kappa = 0.15 * np.ptp(u, axis=1, keepdims=True)
    for _ in range(25):
        step = np.diff(u, axis=1, append=u[:, -1:])
        flux = step * np.exp(-((step / kappa) ** 2))
        u += 0.25 * np.diff(flux, axis=1, prepend=0.0)
    return u


def derivative_loop(rows: np.ndarray) -> np.ndarray:
    out = np.zeros(rows.shape, bool)
    for row, target in zip(rows, out, strict=True):
        row = row.astype("f8")
        change = np.diff(row, prepend=row[0])
        change = np.maximum(ndimage.gaussian_filter1d(change, FRAME_RATE), 0)
        peaks, _ = signal.find_peaks(change, prominence=change.std() / 2, distance=15)
        target[peaks] = True
    return out


def in_pandas_bins(rows: np.ndarray, reduce: str) -> np.ndarray:
    """Bin as 0.3.5 did: cut the frames and group a table by the pieces."""
    frame = pd.DataFrame(rows.T)
    edges = np.arange(0, len(frame) + 1, BIN)
    groups = frame.groupby(pd.cut(frame.index, edges, right=False), observed=True)
    return (groups.std(ddof=0) if reduce == "std" else getattr(groups, reduce)()).to_numpy().T


def close(tolerance: float, absolute: float = 0.0) -> Any:
    def agree(ours: Any, theirs: Any) -> None:
        if theirs is not None:
            np.testing.assert_allclose(
                np.asarray(ours)[: len(theirs)], theirs, rtol=tolerance, atol=absolute
            )

    return agree


def same_spikes(ours: Any, theirs: Any) -> None:
    if theirs is not None:  # what is there at the first sample is no spike of ours
        np.testing.assert_allclose(ours[: len(theirs), 1:], theirs[:, 1:], rtol=1e-5, atol=1e-6)


def same(ours: Any, theirs: Any) -> None:
    np.testing.assert_array_equal(np.asarray(ours)[: len(theirs)], theirs)


def rows_of(traces: Traces, oasis: Any) -> list[Row]:
    few, share = traces.array[: traces.few], traces.share
    window = round(WINDOW * FRAME_RATE)
    window += window % 2 == 0
    decay = float(np.exp(-1 / (DECAY * FRAME_RATE)))
    spread = float(np.ptp(traces.array))

    def deconvolved() -> np.ndarray:
        rows = traces.dfof.values[: traces.few].astype("f8")
        return np.stack([oasis(row, decay, PENALTY)[1] for row in rows])

    bins = [
        Row(
            f"bin, {reduce} of {BIN} samples",
            "pandas cut and groupby",
            lambda reduce=reduce: cs.bin(traces.labelled, samples=BIN, reduce=reduce).values,
            lambda reduce=reduce: in_pandas_bins(traces.array, reduce),
            close(1e-5),
            faster=goal,
        )
        for reduce, goal in (("mean", 20), ("median", 5), ("std", 10))
    ]
    return [
        Row(
            "dfof, low_pass",
            "the loop of 0.3.5: firwin, filtfilt, percentile",
            lambda: cs.dfof(traces.labelled, floor=0).values,
            lambda: low_pass_loop(few),
            close(1e-5, 1e-5),
            faster=10,
            share=share,
        ),
        Row(
            "dfof, low_pass, guarded",
            "the loop of 0.3.5, which guards nothing",
            lambda: cs.dfof(traces.labelled).values,
            lambda: low_pass_loop(few),
            close(1e-5, 1e-5),
            faster=10,
            share=share,
        ),
        Row(
            f"rolling percentile, {WINDOW:g} s",
            "scipy.ndimage.percentile_filter, each row",
            lambda: (
                cs.baseline(
                    traces.labelled, method="rolling_percentile", window=WINDOW, percentile=8
                ).values
            ),
            lambda: rolling_loop(few, window),
            same,
            faster=3,
            share=share,
        ),
        Row(
            "detrend, quartic",
            "numpy.polyfit and polyval, each row",
            lambda: cs.detrend(traces.labelled, keep_level=False).values,
            lambda: polyfit_loop(few),
            close(0, 1e-6 * spread),
            faster=50,
            share=share,
        ),
        Row(
            "perona_malik, 25 iterations",
            "numpy on all rows",
            lambda: cs.perona_malik(traces.labelled).values,
            lambda: perona_malik_loop(traces.array),
            close(0, 1e-6 * spread),
            faster=20,
        ),
        Row(
            "events, derivative rule",
            "the loop of 0.3.5 on scipy",
            lambda: cs.events(traces.labelled, method="derivative").values,
            lambda: derivative_loop(few),
            same,
            faster=6,
            share=share,
        ),
        Row(
            "deconvolve, OASIS L1",
            "oasis-deconv, each row",
            lambda: (
                cs.deconvolve(
                    traces.dfof, method="l1", tau=DECAY, penalty=PENALTY, baseline=0.0
                ).values
            ),
            deconvolved if oasis else None,
            same_spikes,
            faster=4,
            share=share,
        ),
        *bins,
    ]


def find_oasis(where: str | None) -> Any:
    """Return the function of oasis-deconv; None where it is not installed."""
    if where is not None:
        sys.path.append(where)
    if importlib.util.find_spec("oasis") is None:
        return None
    from oasis.oasis_methods import oasisAR1

    return oasisAR1


def main(
    neurons: int = 500, samples: int = 50_000, repeats: int = 3, oasis: str | None = None
) -> list[dict[str, Any]]:
    """Check that all variants agree, time them in turns and print the table."""
    traces = Traces(neurons, samples)
    table = measured(rows_of(traces, find_oasis(oasis)), Copy(traces.array), repeats)
    title = (
        f"{neurons} traces of {samples} samples, float32, {THREADS} threads, medians of {repeats}"
    )
    show(table, title, f"{traces.few} traces" if traces.share < 1 else None)
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neurons", type=int, default=500)
    parser.add_argument("--samples", type=int, default=50_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--oasis", help="where oasis-deconv is installed")
    given = parser.parse_args()
    main(given.neurons, given.samples, given.repeats, given.oasis)
