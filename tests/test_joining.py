"""Joined recordings: time, labels, what must agree, and the same results as apart."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy import model
from calscipy.errors import ArgumentError, TimeAxisError
from calscipy.joining import concat
from calscipy.testing import synthetic_traces, write_recording


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with dask.config.set(scheduler="sync"):
        yield


def refuse(*args, **kwargs):
    raise AssertionError("something was computed")


def session(seed=0, *, frames=60, rate=30.0, lazy=True, **coords):
    """Two epochs of a movie with a damaged frame, traces and events of three neurons."""
    truth = synthetic_traces(neurons=3, duration=frames / rate, frame_rate=rate, seed=seed)
    rng = np.random.default_rng(seed)
    values = rng.integers(900, 1100, (frames, 4, 5)).astype("u2")
    if lazy:
        values = da.from_array(values, chunks=(16, 4, 5))
    movie = cs.from_numpy(values, frame_rate=rate, microns_per_pixel=0.5)
    epoch = np.repeat([1, 4], [frames // 3, frames - frames // 3])
    valid = np.arange(frames) != 7 + seed
    movie = movie.assign_coords(
        valid=("frames", valid), epoch=("frames", epoch), channel="Ch2", **coords
    )
    traces = truth.traces.assign_coords(epoch=("time", epoch))
    labels = np.zeros((4, 5), int)
    labels[0, :3], labels[1], labels[2:, 2] = 1, 2, 3
    tree = xr.DataTree(xr.Dataset(attrs={"source": f"day{seed}", "mouse": "m1", "depth": seed}))
    return cs.ImagingSession(tree).assign(
        movie=movie,
        traces=traces,
        neuropil=traces * 0.5,
        events=truth.events.assign_coords(epoch=("time", epoch)),
        rois=cs.rois_from_labels(labels),
    )


@pytest.fixture(scope="module")
def parts():
    return [session(0), session(1, frames=45), session(2)]


@pytest.fixture(scope="module")
def joined(parts):
    return concat(parts, names=["before", "during", "after"])


def along(group):
    return "frames" if group == "movie" else "time"


@pytest.mark.parametrize("group", ["movie", "traces", "events"])
def test_values_and_labels_follow_each_other(parts, joined, group):
    data = joined.tree[group].to_dataset()
    dim = along(group)
    assert data.sizes[dim] == 165
    steps = np.diff(data.time.values)
    np.testing.assert_allclose(steps, 1 / 30, rtol=1e-9)
    assert data.time.values[0] == 0.0
    np.testing.assert_array_equal(
        data.recording, np.repeat(["before", "during", "after"], [60, 45, 60])
    )
    start = 0
    for part in parts:
        one = part.tree[group].to_dataset()
        stop = start + one.sizes[dim]
        here = data.isel({dim: slice(start, stop)})
        np.testing.assert_array_equal(here.recording_time, one.time)
        for name, variable in one.data_vars.items():
            np.testing.assert_array_equal(here[name], variable)
            assert here[name].dims == variable.dims
            assert here[name].dtype == variable.dtype
        start = stop


def test_every_recording_starts_an_epoch_of_the_same_number_in_every_group(joined):
    for group in ("movie", "traces", "events"):
        epoch = joined.tree[group].to_dataset()["epoch"].values
        np.testing.assert_array_equal(
            epoch, np.repeat([1, 2, 3, 4, 5, 6], [20, 40, 15, 30, 20, 40])
        )
    assert len(model.epochs(joined.traces)) == 6


def test_groups_without_epochs_count_as_the_others(parts):
    def plain(one):
        return one.assign(traces=one.traces.drop_vars("epoch"))

    made = concat([plain(one) for one in parts[:2]], missing="drop")
    np.testing.assert_array_equal(made.traces.epoch, np.repeat([1, 3], [60, 45]))
    np.testing.assert_array_equal(made.movie.epoch, np.repeat([1, 2, 3, 4], [20, 40, 15, 30]))


def test_damaged_frames_stay_damaged(joined):
    assert np.flatnonzero(~joined.movie.valid.values).tolist() == [7, 68, 114]
    assert joined.movie.valid.dtype == bool


def test_a_recording_without_damage_joins_one_with():
    whole = session(3)
    whole = whole.assign(movie=whole.movie.drop_vars("valid"))
    by_plane = xr.concat([session(0).movie] * 2, "plane").transpose("frames", "plane", "y", "x")
    by_plane = by_plane.drop_vars("valid").assign_coords(
        valid=(("frames", "plane"), np.arange(120).reshape(60, 2) != 5)
    )
    two = xr.concat([whole.movie] * 2, "plane").transpose("frames", "plane", "y", "x")
    first, second = (cs.ImagingSession(xr.DataTree()).assign(movie=m) for m in (two, by_plane))
    valid = concat([first, second]).movie.valid
    assert valid.dims == ("frames", "plane")
    assert np.argwhere(~valid.values).tolist() == [[62, 1]]
    assert not np.argwhere(~concat([session(0), whole]).movie.valid.values)[1:].size


def test_joining_reads_nothing(parts):
    with dask.config.set(scheduler=refuse):
        made = concat(parts)
        repr(made)
    assert made.movie.chunks[0] == (16, 16, 16, 12, 16, 16, 13, 16, 16, 16, 12)
    np.testing.assert_array_equal(made.traces.recording, np.repeat([0, 1, 2], [60, 45, 60]))


def test_in_memory_stays_in_memory_and_mixtures_become_lazy():
    assert concat([session(0, lazy=False), session(1, lazy=False)]).movie.chunks is None
    for order in ([False, True], [True, False]):
        mixed = concat([session(0, lazy=lazy) for lazy in order])
        assert mixed.movie.chunks is not None
        np.testing.assert_array_equal(mixed.movie[:60], mixed.movie[60:])


# -- the same as apart ---------------------------------------------------------------------

STEPS = {
    "baseline": lambda d: d.cs.baseline(method="rolling_percentile", window=0.5),
    "low_pass": lambda d: d.cs.baseline(method="low_pass"),
    "dfof": lambda d: d.cs.dfof(method="percentile", percentile=20, floor=0),
    "detrend": lambda d: d.cs.detrend(order=2),
    "matched": lambda d: d.cs.events(method="matched"),
    "derivative": lambda d: d.cs.events(method="derivative"),
}


@pytest.mark.parametrize("step", STEPS)
def test_traces_are_processed_as_they_are_apart(parts, joined, step):
    work = STEPS[step]
    whole = work(joined.traces)
    apart = np.concatenate([work(part.traces).values for part in parts], axis=1)
    np.testing.assert_allclose(whole, apart, rtol=1e-5, atol=1e-5 * np.abs(apart).max())
    lazy = work(joined.traces.chunk(neuron=2, time=50))
    np.testing.assert_array_equal(lazy, whole)


@pytest.mark.parametrize(
    "work",
    [
        lambda m: m.cs.gaussian_filter(sigma=(2, 1, 1)),
        lambda m: m.cs.detrend(order=1),
        lambda m: m.cs.bin(frames=5),
    ],
    ids=["gaussian_filter", "detrend", "bin"],
)
def test_movies_are_processed_as_they_are_apart(parts, joined, work):
    whole = work(joined.movie)
    apart = np.concatenate([work(part.movie).values for part in parts])
    np.testing.assert_allclose(whole, apart, rtol=1e-6, atol=1e-3)


# -- selecting and saving ------------------------------------------------------------------


def test_selecting_from_what_is_joined(parts, joined):
    part = joined.sel(time=slice(1.999, 3.501))  # the first frame of "during" is at 2.0 s
    for group in ("movie", "traces", "events"):
        data = part.tree[group].to_dataset()
        assert set(data.recording.values) == {"during", "after"}
        assert data.recording_time.values[0] == 0.0
        assert data.sizes[along(group)] == 46
    again = joined.sel(recording="during")
    np.testing.assert_array_equal(again.movie, parts[1].movie)
    np.testing.assert_array_equal(again.events, parts[1].events)
    two = concat([again, joined.sel(recording="before")], names=["b", "a"])
    np.testing.assert_array_equal(two.traces[:, :45], parts[1].traces)
    np.testing.assert_array_equal(two.traces.recording_time[:45], parts[1].traces.time)
    assert [e["name"] for e in two.tree.attrs["recordings"][0]["recordings"]] == [
        "before", "during", "after",
    ]  # fmt: skip


def test_saving_and_opening(joined, tmp_path):
    saved = joined.save(tmp_path / "joined.zarr", progress=False)
    assert set(saved.tree.children) == set(joined.tree.children)
    for group, node in joined.tree.children.items():
        ours, theirs = saved.tree[group].to_dataset(), node.to_dataset()
        xr.testing.assert_identical(ours.compute(), theirs.compute())
        assert ours.indexes.keys() == theirs.indexes.keys()
    assert saved.tree.attrs["recordings"] == joined.tree.attrs["recordings"]
    np.testing.assert_array_equal(
        saved.sel(recording="after").traces, joined.sel(recording="after").traces
    )


def test_recordings_of_the_microscope(tmp_path):
    for name in ("a", "b"):
        write_recording(tmp_path / name, frames=24, shape=(16, 16), neurons=1, planes=3, cycles=1)
    opened = [cs.ImagingSession.open(tmp_path / name) for name in ("a", "b")]
    unread = [cs.ImagingSession.open(tmp_path / name, chunks=None) for name in ("a", "b")]
    both = concat(opened)
    frames = opened[0].movie.sizes["frames"]
    assert both.movie.sizes["frames"] == 2 * frames
    np.testing.assert_allclose(
        both.movie.plane_time - both.movie.time,
        np.tile((opened[0].movie.plane_time - opened[0].movie.time).values, (2, 1)),
    )
    assert both.metadata.objective == opened[0].metadata.objective
    lazy = concat(unread)
    assert lazy.movie.chunks is not None
    np.testing.assert_array_equal(lazy.movie, both.movie)
    assert both.tree.attrs["source"] == "a, b"


# -- time ----------------------------------------------------------------------------------


def test_a_recording_begins_when_all_groups_of_the_one_before_have_ended(parts):
    def with_voltage(one, end):
        times = np.arange(round(end * 100)) / 100
        voltage = xr.DataArray(
            np.sin(times)[None], {"time": times, "signal": ["lick"]}, ("signal", "time")
        )
        stimulus = xr.Dataset(
            {"power": ("stimulus", [1.0, 2.0])}, {"onset": ("stimulus", [0.5, 1.5])}
        )
        tree = one.tree.copy()
        tree["voltage"] = xr.DataTree(voltage.to_dataset(name="voltage"))
        tree["stimulus"] = xr.DataTree(stimulus)
        return cs.ImagingSession(tree)

    made = concat([with_voltage(parts[0], 2.5), with_voltage(parts[1], 1.0)])
    voltage = made.tree["voltage"].to_dataset()
    np.testing.assert_allclose(voltage.time, np.arange(350) / 100, atol=1e-9)
    assert voltage.voltage.dims == ("signal", "time")
    np.testing.assert_array_equal(voltage.recording, np.repeat([0, 1], [250, 100]))
    np.testing.assert_allclose(made.traces.time[[59, 60]], [59 / 30, 2.5])
    np.testing.assert_allclose(made.movie.time, made.traces.time)
    stimulus = made.tree["stimulus"].to_dataset()
    np.testing.assert_allclose(stimulus.onset, [0.5, 1.5, 3.0, 4.0])
    np.testing.assert_array_equal(stimulus.recording_time, [0.5, 1.5, 0.5, 1.5])
    assert made.tree.attrs["recordings"][1]["shift"] == pytest.approx(2.5)


def test_parts_that_do_not_begin_at_zero(parts):
    late = parts[0].sel(time=slice(1.0, None))
    made = concat([late, late])
    np.testing.assert_allclose(made.traces.time, 1 + np.arange(60) / 30)
    np.testing.assert_allclose(made.traces.recording_time[30:], 1 + np.arange(30) / 30)


def test_rates_within_two_percent_join_and_others_do_not():
    made = concat([session(0), session(1, rate=30.3)])
    assert made.traces.sizes["time"] == 120
    with pytest.raises(TimeAxisError, match=r"30.9 samples a second in 1 \(day1\), but 30 in 0"):
        concat([session(0), session(1, rate=30.9)])


def test_times_that_cannot_be_joined():
    bare = session(0)
    bare = cs.ImagingSession(xr.DataTree()).assign(traces=bare.traces.drop_vars("time"))
    with pytest.raises(TimeAxisError, match="needs 'time' in s along 'time'"):
        concat([bare, bare])
    back = session(0).traces.assign_coords(time=-np.arange(60.0))
    back = cs.ImagingSession(xr.DataTree()).assign(traces=back)
    with pytest.raises(TimeAxisError, match="do not increase"):
        concat([back, back])
    short = session(0).traces[:, :1]
    short = cs.ImagingSession(xr.DataTree()).assign(traces=short)
    with pytest.raises(TimeAxisError, match="frame rate is not known"):
        concat([short, short])
    longer = cs.ImagingSession(xr.DataTree()).assign(traces=session(0).traces)
    np.testing.assert_allclose(concat([short, longer]).traces.time[:2], [0, 1 / 30])


# -- what must agree -----------------------------------------------------------------------


def changed(one, **variables):
    """A session with another array under a name; whatever was made of the old one stays."""
    tree = one.tree.copy()
    for name, change in variables.items():
        group = name if name in tree.children else "traces"
        dataset = tree[group].to_dataset()
        array = change(dataset[name])
        tree[group] = xr.DataTree(array.to_dataset(name=name))
    return cs.ImagingSession(tree)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"movie": lambda m: m[:, :3]}, r"other sizes .*'y': 3.*'y': 4"),
        ({"movie": lambda m: m.assign_coords(y=m.y * 2)}, "other values of 'y'"),
        ({"movie": lambda m: m.assign_coords(channel="Ch1")}, "other values of 'channel'.*Ch1"),
        ({"movie": lambda m: m.assign_attrs(units="V")}, "other units of 'movie'.*V, not count"),
        (
            {"movie": lambda m: m.assign_coords(y=("y", m.y.values))},
            "other units of 'y' .*: None, not um",
        ),
        ({"events": lambda e: e.astype(int)}, "other values in 'events'.*int64, not bool"),
        ({"events": lambda e: e.assign_coords(neuron=[0, 1, 5])}, "other values of 'neuron'"),
        ({"rois": lambda r: r * 2}, "'rois' of 'b' .* differs from that of 'a' .* in rois"),
        ({"rois": lambda r: r[:-1]}, "differs .* in neuron, rois, x, y"),
    ],
)
def test_recordings_that_do_not_fit_are_named(parts, change, match):
    with pytest.raises(ArgumentError, match=match) as raised:
        concat([parts[0], changed(parts[0], **change)], names=["a", "b"])
    assert "'b' (day0)" in str(raised.value)


def test_traces_without_their_level_do_not_join_those_with():
    one = cs.ImagingSession(xr.DataTree()).assign(traces=session(0).traces)
    flat = one.assign(traces=one.traces.cs.detrend(keep_level=False))
    with pytest.raises(ArgumentError, match="other level of 'traces'"):
        concat([one, flat])


def test_what_some_lack_is_named_or_dropped(parts):
    tree = parts[1].tree.copy()
    del tree["events"]
    short = cs.ImagingSession(tree)
    with pytest.raises(ArgumentError, match=r"group 'events' is missing in 1 \(day1\)"):
        concat([parts[0], short])
    made = concat([parts[0], short], missing="drop")
    assert set(made.tree.children) == {"movie", "traces", "rois"}
    more = parts[1].assign(dfof=lambda s: s.traces.cs.dfof(method="mean"))
    with pytest.raises(ArgumentError, match=r"variable of 'traces' 'dfof' is missing in 1"):
        concat([more, parts[0]])
    made = concat([more, parts[0]], missing="drop")
    assert set(made.tree["traces"].data_vars) == {"traces", "neuropil"}
    assert made.tree["traces"].attrs["latest"] in made.tree["traces"].data_vars
    extra = parts[1].assign(movie=parts[1].movie.assign_coords(power=("frames", np.ones(45))))
    with pytest.raises(ArgumentError, match=r"coordinate of 'movie' 'power' is missing in 0"):
        concat([parts[0], extra])
    assert "power" not in concat([parts[0], extra], missing="drop").movie.coords


def test_corrected_does_not_join_uncorrected(parts):
    moved = parts[0].movie.assign_coords(y_shift=("frames", np.zeros(60)))
    moved = parts[0].assign(movie=moved)
    for missing in ("error", "drop"):
        with pytest.raises(ArgumentError, match=r"'y_shift', but not 1 \(day1\)"):
            concat([moved, parts[1]], missing=missing)


def test_what_is_told_of_a_whole_recording_becomes_a_coordinate_along_time():
    made = concat([session(0, z=100.0, mouse="m1"), session(1, z=120.0, mouse="m1")])
    np.testing.assert_array_equal(made.movie.z, np.repeat([100.0, 120.0], 60))
    assert made.movie.mouse.ndim == 0


def test_attributes_of_all_are_kept(parts, joined):
    attrs = joined.tree.attrs
    assert attrs["depth"] == 0
    assert attrs["source"] == "day0, day1, day2"
    entries = attrs["recordings"]
    assert [entry["name"] for entry in entries] == ["before", "during", "after"]
    assert [entry["source"] for entry in entries] == ["day0", "day1", "day2"]
    assert [entry["shift"] for entry in entries] == pytest.approx([0, 2.0, 3.5])
    assert "differs" not in entries[0]
    assert entries[1]["differs"]["/"] == {"depth": 1}
    line = joined.traces.attrs["history"].splitlines()[-1]
    assert line.endswith('concat {"recordings": ["before", "during", "after"]}')


def test_histories_that_differ_are_kept():
    def filtered(seed, sigma):
        one = cs.ImagingSession(xr.DataTree()).assign(movie=session(seed).movie)
        return one.cs.gaussian_filter(sigma=sigma)

    alike = concat([filtered(0, 1), filtered(1, 1)]).tree.attrs["recordings"]
    assert all("differs" not in entry for entry in alike)
    other = concat([filtered(0, 1), filtered(1, 2)]).tree.attrs["recordings"]
    assert '"sigma": 2' in other[1]["differs"]["/movie/movie"]["history"]


@pytest.mark.parametrize(
    ("sessions", "arguments", "match"),
    [
        ([], {}, "an empty list"),
        ([1, "a"], {}, "got int, str"),
        (2, {"names": ["a"]}, "needs 2 different names"),
        (2, {"names": ["a", "a"]}, "got a, a"),
        (2, {"names": [1, 2]}, "one text for each"),
        (2, {"missing": "keep"}, "'error' or 'drop', got 'keep'"),
    ],
)
def test_other_refusals(parts, sessions, arguments, match):
    given = parts[:sessions] if isinstance(sessions, int) else sessions
    with pytest.raises(ArgumentError, match=match):
        concat(given, **arguments)


def test_joined_sessions_and_those_without_time_are_refused(parts, joined):
    with pytest.raises(ArgumentError, match="joined already"):
        concat([joined, parts[0]])
    rois = cs.ImagingSession(xr.DataTree()).assign(rois=parts[0].rois)
    with pytest.raises(ArgumentError, match="no group with a time axis"):
        concat([rois, rois])


def test_one_session_and_the_inputs_are_untouched(parts):
    before = parts[0].tree.copy()
    made = concat([parts[0]])
    np.testing.assert_array_equal(made.traces, parts[0].traces)
    assert made.traces.time.values.tolist() == parts[0].traces.time.values.tolist()
    xr.testing.assert_identical(parts[0].tree, before)
    assert "recordings" not in parts[0].tree.attrs


def test_neuropil_fitted_in_each_recording_can_be_joined():
    rng = np.random.default_rng(0)
    parts = []
    for share in (0.4, 0.8):
        slow = 10 * np.sin(np.arange(900) / 100)
        neuropil = cs.from_numpy(50 + slow + rng.normal(0, 2, (2, 900)), frame_rate=30)
        noise = rng.normal(0, 3, neuropil.shape)
        given = {"traces": 100 + share * neuropil + noise, "neuropil": neuropil}
        fitted = cs.ImagingSession(xr.DataTree()).assign(**given)
        parts.append(fitted.cs.subtract_neuropil(coefficient="fit"))
    joined = concat(parts)
    for at, part in enumerate(parts):
        mine = joined.sel(recording=at).tree["traces"]["without_neuropil"]
        theirs = part.tree["traces"]["without_neuropil"]
        np.testing.assert_array_equal(mine.values, theirs.values)
        own = mine.neuropil_coefficient.transpose("neuron", "time")
        assert (own == theirs.neuropil_coefficient).all()
        assert own.shape == (2, 900)
    same = concat([parts[0], parts[0]])
    assert same.tree["traces"].neuropil_coefficient.dims == ("neuron",)
