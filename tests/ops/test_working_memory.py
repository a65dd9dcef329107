"""What operations on traces hold beyond input and output: the work on one row in each thread."""

import tracemalloc

import pytest

import calscipy as cs
from calscipy.blocks import memory, rows, time
from calscipy.testing import synthetic_traces

ROWS, SAMPLES, THREADS = 60, 20_000, 2
ROW = SAMPLES * 4

OPERATIONS = {  # and the working memory of one row, in rows of float32
    "dfof": (lambda f: cs.dfof(f), 3),
    "rolling percentile": (
        lambda f: cs.baseline(f, method="rolling_percentile", window=30, percentile=8),
        3,
    ),
    "quartic detrend": (lambda f: cs.detrend(f), 1),
    "Perona-Malik": (lambda f: cs.perona_malik(f), 1),
    "derivative events": (lambda f: cs.events(f, method="derivative"), 6),
    "OASIS": (lambda f: cs.deconvolve(f, method="l1", tau=0.7, penalty=5.0, baseline=100.0), 9),
    "mean of bins": (lambda f: cs.bin(f, samples=10), 1),
    "median of bins": (lambda f: cs.bin(f, samples=10, reduce="median"), 1),
    "standard deviation of bins": (lambda f: cs.bin(f, samples=10, reduce="std"), 1),
}
SHARED = 8  # rows: times, their steps and masks, and Python's own


@pytest.fixture(scope="module")
def traces():
    made = synthetic_traces(neurons=ROWS, duration=SAMPLES / 30, frame_rate=30).traces
    return made.astype("float32").isel(time=slice(SAMPLES)).compute()


@pytest.mark.parametrize("name", OPERATIONS)
def test_beyond_input_and_output_one_row_in_each_thread(traces, name, monkeypatch):
    operation, most = OPERATIONS[name]
    for module in (rows, time):
        monkeypatch.setattr(module, "CPU_COUNT", THREADS)
    operation(traces)  # imports and compiles
    monkeypatch.setattr(memory, "_idle", [])
    tracemalloc.start()
    try:
        result = operation(traces)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    beyond = (peak - result.nbytes) / ROW
    assert beyond <= SHARED + THREADS * most
