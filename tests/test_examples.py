"""The two examples of the design, on recordings whose truth is known."""

import sys
from collections import Counter

import dask
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.testing import write_recording

TOLERANCE = 0.2  # s between a burst and the event that stands for it

_opened = Counter()
sys.addaudithook(
    lambda event, arguments: (
        _opened.update([str(arguments[0])])
        if event == "open" and str(arguments[0]).endswith(".tif")
        else None
    )
)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "TSeries-001"
    truth = write_recording(
        folder,
        frames=1800,
        shape=(48, 56),
        channels=("Ch1", "Ch2"),
        neurons=8,
        burst_rate=0.15,
        seed=1,
    )
    return folder, truth


def arrays(session, rois):
    clean = (
        session.movie.sel(channel="Ch2")
        .cs.median_filter(size=3)
        .cs.gaussian_filter(sigma={"y": 1, "x": 1})
    )
    traces = clean.cs.extract(rois)
    dff = traces.cs.detrend().cs.dfof(method="rolling_percentile", window=30)
    return traces, dff, dff.cs.events(method="matched")


def whole_session(session, rois):
    return (
        session.sel(channel="Ch2")
        .cs.median_filter(size=3)
        .cs.gaussian_filter(sigma={"y": 1, "x": 1})
        .cs.extract(rois)
        .cs.detrend()
        .cs.dfof(method="rolling_percentile", window=30)
        .cs.events(method="matched")
    )


def matches(found, truth):
    """Precision and recall of events within the tolerance, each burst matched once."""
    times = found.time.values
    hits = misses = extra = 0
    for events, bursts in zip(found.values, truth.values, strict=True):
        left = list(times[bursts])
        for event in times[events]:
            near = [burst for burst in left if abs(burst - event) <= TOLERANCE]
            if near:
                left.remove(min(near, key=lambda burst: abs(burst - event)))
                hits += 1
            else:
                extra += 1
        misses += len(left)
    return hits / (hits + extra), hits / (hits + misses)


def test_both_examples_give_the_same_arrays_and_recover_the_bursts(recording):
    folder, truth = recording
    session = cs.ImagingSession.open(folder)
    rois = cs.rois_from_labels(truth.labels)
    traces, dff, events = dask.compute(*arrays(session, rois))
    chained = whole_session(session, rois)

    for ours, theirs in ((chained.traces, traces), (chained.dfof, dff), (chained.events, events)):
        np.testing.assert_array_equal(ours.values, theirs.values)
        assert {k: v for k, v in ours.attrs.items() if k != "history"} == {
            k: v for k, v in theirs.attrs.items() if k != "history"
        }
    precision, recall = matches(events, truth.events)
    assert precision >= 0.9
    assert recall >= 0.9


@pytest.mark.parametrize("seed", [2, 3])
def test_bursts_are_recovered_without_filters(tmp_path, seed):
    truth = write_recording(tmp_path / "r", frames=1800, neurons=6, burst_rate=0.15, seed=seed)
    events = (
        cs.ImagingSession.open(tmp_path / "r")
        .cs.extract(truth.labels)
        .cs.dfof(method="rolling_percentile", window=30)
        .cs.events(method="matched")
        .events
    )
    precision, recall = matches(events, truth.events)
    assert precision >= 0.95
    assert recall >= 0.95


def test_dfof_recovers_the_truth(recording):
    folder, truth = recording
    session = cs.ImagingSession.open(folder).sel(channel="Ch2").cs.extract(truth.labels)
    # A low percentile lies below the rest level by the noise, which F0 of the truth does not.
    dff = session.cs.dfof(method="rolling_percentile", window=30, percentile=40).dfof
    error = dff.values - truth.dfof.values
    assert abs(np.median(error)) < 0.05
    assert np.median(np.abs(error)) < 0.08  # the shot noise alone is 0.05 to 0.1
    for ours, true in zip(dff.values, truth.dfof.values, strict=True):
        assert np.corrcoef(ours, true)[0, 1] > 0.5


def test_building_reads_nothing_and_saving_reads_every_frame_once(recording, tmp_path):
    folder, truth = recording
    _opened.clear()
    session = cs.ImagingSession.open(folder)
    traces, dff, events = arrays(session, cs.rois_from_labels(truth.labels))
    assigned = session.assign(traces=traces, dfof=dff, events=events)
    assert not _opened

    saved = assigned.save(tmp_path / "m12.zarr", groups=("traces", "events"))
    assert len(_opened) == 1800
    assert set(_opened.values()) == {1}
    np.testing.assert_array_equal(saved.events.values, events.values)
    assert list(saved.tree.children) == ["events", "traces"]


def test_saving_movie_and_traces_together_reads_every_frame_once(recording, tmp_path):
    folder, truth = recording
    session = whole_session(cs.ImagingSession.open(folder), truth.labels)
    _opened.clear()
    saved = session.save(tmp_path / "whole.zarr", progress=False)
    assert len(_opened) == 1800
    assert set(_opened.values()) == {1}
    xr.testing.assert_equal(saved.movie.load(), session.movie.load())


def test_three_missing_frames_change_no_other_sample(tmp_path):
    """Against the same recording with other contents in, and without, the missing frames."""
    missing = (7, 90, 91)
    truth = write_recording(tmp_path / "whole", frames=300, neurons=5, seed=4, burst_rate=0.3)
    write_recording(
        tmp_path / "lost", frames=300, neurons=5, seed=4, burst_rate=0.3, missing=missing,
        name="whole",
    )  # fmt: skip
    whole = cs.ImagingSession.open(tmp_path / "whole")
    with pytest.warns(cs.errors.DamagedRecordingWarning, match="3 of 300 images"):
        lost = cs.ImagingSession.open(tmp_path / "lost")
    assert np.flatnonzero(~lost.movie.valid.values).tolist() == list(missing)
    kept = np.setdiff1d(np.arange(300), missing)

    spatial = {"sigma": {"y": 1, "x": 1}}
    for verb, arguments in (
        ("gaussian_filter", spatial),
        ("median_filter", {"size": {"y": 3, "x": 3}}),
        ("mean_filter", {"size": {"y": 3, "x": 3}}),
        ("extract", {"rois": truth.labels}),
    ):
        ours = getattr(lost.movie.cs, verb)(**arguments)
        theirs = getattr(whole.movie.cs, verb)(**arguments)
        dim = "frames" if "frames" in ours.dims else "time"
        xr.testing.assert_equal(
            ours.isel({dim: kept}).drop_vars("valid", errors="ignore"),
            theirs.isel({dim: kept}).drop_vars("valid", errors="ignore"),
        )
    np.testing.assert_allclose(
        lost.movie.cs.project(reduce="mean").values, whole.movie.values[kept].mean(axis=0)
    )
    # Filters along frames: unchanged where the halo holds no missing frame.
    far = kept[np.abs(kept[:, None] - np.array(missing)).min(axis=1) > 4]
    ours = lost.movie.cs.gaussian_filter(sigma=1).isel(frames=far)
    np.testing.assert_array_equal(
        ours.values, whole.movie.cs.gaussian_filter(sigma=1).isel(frames=far).values
    )

    traces = whole.movie.cs.extract(truth.labels).compute()
    gapped = lost.movie.cs.extract(truth.labels).compute()
    assert np.isnan(gapped.values[:, list(missing)]).all()
    for method in ("mean", "median", "percentile"):
        ours = gapped.cs.baseline(method=method).isel(time=kept)
        theirs = traces.isel(time=kept).cs.baseline(method=method)
        np.testing.assert_allclose(ours.values, theirs.values, rtol=1e-6)
    for method in ("low_pass", "rolling_percentile"):
        arguments = {"method": method} | ({"window": 3} if method[0] == "r" else {})
        ours = gapped.cs.baseline(**arguments)
        theirs = traces.cs.baseline(**arguments)
        assert np.isfinite(ours.values).all()
        # Three samples fewer: F0 moves by less than the noise of the percentile itself.
        np.testing.assert_allclose(ours.values, theirs.values, rtol=0.05)
    # A fit without three of 300 samples moves by a fraction of the noise of 8 %.
    np.testing.assert_allclose(
        gapped.cs.detrend().values[:, kept], traces.cs.detrend().values[:, kept], rtol=0.02
    )
    # No window of the matched filter reaches further than three decays from a missing frame, but
    # the noise is measured without these samples, which may move a score across the threshold.
    noise = {"rise": 0.05, "decay": 0.2}
    ours = gapped.cs.events(method="matched", **noise)
    theirs = traces.cs.events(method="matched", **noise)
    distant = kept[np.abs(kept[:, None] - np.array(missing)).min(axis=1) > 30]
    assert (ours.values[:, distant] == theirs.values[:, distant]).mean() > 0.999
