"""One small call of every kernel module that has compiled loops.

Run as a script, it makes each call in the parent, then again in a forked child, and compares.
"""

import multiprocessing

import numpy as np
from scipy import ndimage

from calscipy.kernels import (
    background,
    extract,
    filters,
    interpolation,
    registration,
    scan_phase,
    summary,
    time_offset,
)
from calscipy.kernels import bin as bins

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


def at_times():
    rows = FLOATS[:, 0, :8].T
    times = np.arange(20.0)
    return time_offset.at_times(rows, np.broadcast_to(times + 0.2, rows.shape), times)


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
