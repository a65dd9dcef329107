"""One small call of every kernel module that has compiled loops, and of the loop that reads frames.

Run as a script, it makes each call in the parent, then again in a forked child, and compares.
"""

import multiprocessing
import tempfile
from pathlib import Path

import numpy as np
from scipy import ndimage

from calscipy.io.prairieview.plain import CAN_READ_ALL, FrameLayout, read_all_plain
from calscipy.kernels import (
    averages,
    background,
    baseline,
    bin_rows,
    decimals,
    derivative,
    detrend,
    dfof,
    event_shapes,
    extract,
    filters,
    interpolation,
    matched_filters,
    mode,
    oasis,
    oasis_loops,
    peaks,
    percentile,
    registration,
    rolling_loops,
    scan_phase,
    smoothing_loops,
    summary,
    time_offset,
)
from calscipy.kernels import bin as bins
from calscipy.testing import tiff_frame

MOVIE = np.random.default_rng(0).integers(900, 1100, (20, 48, 50)).astype("uint16")
FLOATS = MOVIE.astype("float32")


def gaussian():
    return filters.gaussian(MOVIE, sigma=(1, 1, 1), mode="reflect", ndimage=ndimage)


def mean():
    return filters.mean(FLOATS, size=(2, 3, 4), mode="mirror", ndimage=ndimage)


def median_27():
    return filters.median(MOVIE, size=(3, 3, 3), mode="reflect", ndimage=ndimage)


def median_9():
    return filters.median(MOVIE, size=(1, 3, 3), mode="reflect", ndimage=ndimage)


def median_3():
    return filters.median(MOVIE, size=(3, 1, 1), mode="reflect", ndimage=ndimage)


def roi_sums():
    at = np.arange(100)
    runs = extract.roi_runs(at // 25, at // 40, at % 40, np.ones(100), 4)
    return extract.roi_sums(MOVIE, runs)


def bin_means():
    return _binned("mean")


def bin_stds():
    return _binned("std")


def bin_maxima():
    return _binned("max")


def bin_medians():
    return _binned("median")


def _binned(reduce):
    starts = np.arange(0, 20, 5)
    out = np.zeros((4, 24, 25), "uint16" if reduce == "max" else "float32")
    bins.bin_frames(MOVIE, starts, starts + 5, width=(2, 2), reduce=reduce, out=out)
    return out


def bins_of_rows():
    starts = np.array([0, 5, 10, 15, 20, 25, 32])
    stops = np.array([5, 10, 15, 20, 25, 30, 36])
    ways = (
        bin_rows.bin_rows(
            FLOATS[0], starts=starts, stops=stops, reduce=reduce, dtype=np.dtype("f4")
        )
        for reduce in ("mean", "std")
    )
    return np.stack(list(ways))


def averages_of_trials():
    how = {"groups": [np.arange(9)], "confidence": 0.9, "resamples": 20, "seed": 0}
    return averages.average_trials(FLOATS[:5, :9], **how, dtype=np.dtype("f4"))


def percentiles_of_rows():
    return percentile.row_percentile(FLOATS.reshape(4, -1), 30.0)


def low_passed_levels():
    rows = FLOATS[:, :8].reshape(4, -1)
    return baseline.low_pass_baseline(np.where(rows < 910, np.nan, rows), frame_rate=30.0)


def fold_changes():
    return np.stack(dfof.fold_change(FLOATS[0], FLOATS[1], lowest=950.0))


def background_percentiles():
    return background.without_percentile(MOVIE, percentile=20.0, out_dtype=np.dtype("f4"))


def summary_of_integers():
    return _summary(MOVIE)


def summary_of_floats():
    return _summary(FLOATS)


def _summary(movie):
    valid = np.ones((len(movie), 1), bool)
    sums = summary.Sums.empty(movie, movie.shape[1:], valid.sum(axis=0))
    if sums.pivot is not None:
        sums.begin(movie, valid)
    sums.add(movie, valid)
    return np.stack(summary.images(sums))


def shifts():
    template = registration.reference(MOVIE.mean(axis=0), max_shift=4)
    which = np.zeros(len(MOVIE), int)
    return np.stack(registration.rigid_shifts(MOVIE, which, shared=[template]))


def moved():
    return interpolation.shift_frames(MOVIE, np.full((20, 2), 0.3), dtype=np.dtype("f4"))


def line_offset():
    products = scan_phase.lag_products(MOVIE, np.ones(20, bool), max_shift=3)
    return np.asarray(scan_phase.offset_from_products(products.sum(axis=0)))


def lines_moved():
    return scan_phase.shift_odd_lines(MOVIE, np.full(20, 0.4), dtype=np.dtype("f4"))


def peaks_of_lines():
    return peaks.find_peaks(FLOATS[:, :8, :8].ravel().astype("f8"), distance=5, prominence=20.0)


def onsets_by_derivative():
    return derivative.derivative_events(FLOATS[:, 0, :8].T, timeout=3, frame_rate=2.0)


def transients_by_filter():
    window = matched_filters.make_windows(2.0, 0.1, 1.0)[0]
    trace = FLOATS[:, 0, 0].astype("f8")
    matched_filters.subtract_copies(trace, np.array([3]), np.array([9.0]), window.answer, -2)
    gaps = matched_filters.find_gaps(np.ones(20, bool), window)
    return matched_filters.amplitude_over_error(trace, window, gaps)


def shapes_of_events():
    row, onset = np.array([0, 1]), np.array([2, 5])
    rows = FLOATS[:, 0, :2].T
    times = np.arange(20.0)
    return np.stack(event_shapes.event_shapes(rows, times, row, onset, onset + 9, window=4.0))


def spikes():
    found = oasis.spikes(FLOATS[:, 0, :8].T, frame_rate=2.0, tau=1.0)
    products = oasis_loops.dot(found[0].astype("f8"), found[1].astype("f8"))
    return np.append(found, products)


def modes():
    return mode.mode_baseline(FLOATS[:, 0, :8].T)


def rolling_medians():
    rows, ranks = np.resize(FLOATS, (2, 300)), np.arange(10) // 2
    rows.setflags(write=False)
    out, none = np.empty_like(rows), np.empty((0, 300), "f4")
    values = np.empty(308, "f4")
    rolling_loops.rolling_order(
        rows, values, values.view("u4"), ranks, ranks, 100, 0.5, 0.1, out, none
    )
    return out


def at_times():
    rows = FLOATS[:, 0, :8].T
    times = np.arange(20.0)
    return time_offset.at_times(rows, np.broadcast_to(times + 0.2, rows.shape), times)


def detrended():
    return detrend.detrend_polynomial(np.resize(FLOATS, (3, 300)))


def diffused():
    rows = np.resize(FLOATS, (3, 300))
    out, level, scale = np.empty_like(rows), np.full(3, 1000, "f4"), np.full(3, 0.02, "f4")
    rows.setflags(write=False)
    smoothing_loops.diffuse(rows, level, scale, 5, np.full(1, 0.25, "f4"), 100, out)
    return out


def frames_read():
    if not CAN_READ_ALL:
        return np.zeros(1)
    layout, names = FrameLayout(48, 50), np.array([b"0.tif", b"1.tif", b"absent.tif"])
    images, wanted = np.zeros((3, 48, 50), "uint16"), np.ones(3, bool)
    with tempfile.TemporaryDirectory() as folder:
        for name, image in zip(names[:2].tolist(), MOVIE, strict=False):
            content = tiff_frame(image, description=b"<OME></OME>")
            Path(folder, name.decode()).write_bytes(content)
        done = read_all_plain(folder, names, wanted, images, layout)
    assert done.tolist() == [True, True, False]
    return images


def parsed():
    return decimals.parse_decimals(b"0, -1.25\n" * 500, 2)


EXAMPLES = {
    name: value
    for name, value in list(globals().items())
    if callable(value) and getattr(value, "__module__", "") == __name__ and name[0] != "_"
}


def _child(name, results):
    results.put(EXAMPLES[name]())


if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    for name, example in EXAMPLES.items():
        expected = example()
        results = context.Queue()
        child = context.Process(target=_child, args=(name, results))
        child.start()
        np.testing.assert_array_equal(results.get(timeout=60), expected, err_msg=name)
        child.join(60)
        assert child.exitcode == 0, name
    print(len(EXAMPLES))
