import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d, median_filter
from scipy.signal import find_peaks

from calscipy.errors import RowError
from calscipy.kernels import derivative
from calscipy.kernels.events import derivative_events, matched_events, matched_score
from calscipy.kernels.matched_filters import (
    amplitude_over_error,
    crossing_level,
    find_gaps,
    make_windows,
)
from calscipy.testing import synthetic_traces

RISE = 0.05

# -- derivative rule -------------------------------------------------------------------------


def deterministic_traces():
    t = np.arange(600)
    return np.stack(
        [
            np.sin(t / 7) + np.cos(t * t / 900),
            (t % 97 == 50) * 5.0 + np.sin(t * 1.7),
            np.where(t >= 200, np.exp(-(t - 200) / 21.0), 0),
        ]
    )


def where(events):
    return [np.flatnonzero(row).tolist() for row in events]


def test_derivative_rule_of_calscipy():
    """Expected frames are what ``identify_events`` of CalSciPy 0.3.5 returned for these traces."""
    f = deterministic_traces()
    assert where(derivative_events(f, timeout=15, frame_rate=10.0)) == [
        [52, 94, 131, 176, 220, 264, 308, 352, 396, 440, 484, 528, 572],
        [40, 138, 235, 331, 428, 526],
        [197],
    ]
    plain = derivative_events(f, timeout=15, frame_rate=10.0, smooth=False, force_nonnegative=False)
    first = [98, 126, 146, 165, 181, 196, 223, 247, 269, 289, 308, 335, 351, 367, 382, 397, 424]
    first += [444, 475, 492, 515, 531, 557, 572, 596]
    assert where(plain)[0] == first
    assert where(plain)[2] == [200]


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("force_nonnegative", [False, True])
@pytest.mark.parametrize("timeout", [1, 4, 15])
def test_derivative_by_slow_loop(smooth, force_nonnegative, timeout):
    f = np.random.default_rng(timeout).normal(size=(5, 400)).cumsum(axis=1)
    events = derivative_events(
        f, timeout=timeout, frame_rate=3.0, smooth=smooth, force_nonnegative=force_nonnegative
    )
    for row, out in zip(f, events, strict=True):
        change = np.array([0.0] + [row[i] - row[i - 1] for i in range(1, len(row))])
        change = gaussian_filter1d(change, 3.0) if smooth else change
        change = np.where(change > 0, change, 0) if force_nonnegative else change
        peaks = find_peaks(change, prominence=0.5 * change.std(), distance=timeout)[0]
        assert np.flatnonzero(out).tolist() == peaks.tolist()


def identify_events(trace, timeout, frame_rate, smooth, force_nonnegative):
    """The documented rule, by scipy."""
    change = np.diff(trace.astype("f8"), prepend=np.float64(trace[0]))
    change = gaussian_filter1d(change, frame_rate) if smooth else change
    change = np.where(change > 0, change, 0) if force_nonnegative else change
    return find_peaks(change, prominence=0.5 * np.std(change), distance=timeout)[0]


def test_derivative_rule_on_1000_traces_is_that_of_scipy():
    """Coarse integers: many plateaus and peaks of equal height. The last bit must agree."""
    rng = np.random.default_rng(0)
    for _ in range(1000):
        length, levels = rng.integers(1, 120), rng.integers(2, 40)
        f = rng.integers(0, levels, length).astype(rng.choice(["f4", "f8", "u2"]))
        switches = rng.integers(0, 2, 2).astype(bool)
        rule = (rng.integers(1, 12), rng.choice([0.4, 1.0, 2.0, 7.5]), *switches)
        names = ("timeout", "frame_rate", "smooth", "force_nonnegative")
        found = derivative_events(f, **dict(zip(names, rule, strict=True)))
        assert np.flatnonzero(found).tolist() == identify_events(f, *rule).tolist()


def test_smoothing_is_scipys_to_the_last_bit():
    rng = np.random.default_rng(0)
    for sigma in (0.1, 0.6, 1.0, 2.0, 7.3, 30.0):
        for length in (1, 2, 8, 300, 3000):
            values = rng.normal(size=length)
            half = derivative._half_gaussian(sigma)
            padded, smooth = np.pad(values, len(half) - 1), np.empty(length)
            derivative._smooth(padded, half, smooth)
            np.testing.assert_array_equal(smooth, gaussian_filter1d(values, sigma))
            assert derivative._std(smooth, spare=values) == smooth.std()


def test_a_fall_of_uint16_is_no_event():
    """Differences of uint16 wrapped to 65486, which was the highest peak of all."""
    f = np.full(300, 500, "uint16")
    f[100:] = 450
    assert not derivative_events(f, timeout=15, frame_rate=10.0, smooth=False).any()
    f[200:] = 480
    found = derivative_events(f, timeout=15, frame_rate=10.0, smooth=False)
    assert np.flatnonzero(found).tolist() == [200]


def test_derivative_of_infinite_samples_and_constants():
    f = np.ones((2, 100), "f4")
    f[1, 50] = np.inf
    assert not derivative_events(f, timeout=5, frame_rate=2.0).any()
    assert not derivative_events(f[:, :1], timeout=5, frame_rate=2.0).any()


def test_derivative_events_of_pure_noise():
    """The flaw that the matched method is for: 52 events in five minutes of noise."""
    f = np.random.default_rng(0).normal(size=(20, 9000))
    assert 45 < derivative_events(f, timeout=15, frame_rate=30.0).sum() / 20 < 60
    plain = derivative_events(f, timeout=15, frame_rate=30.0, smooth=False)
    assert 80 < plain.sum() / 100 < 95


def test_derivative_of_integers():
    f = np.round(deterministic_traces() * 100 + 300)
    expected = derivative_events(f.astype("f4"), timeout=15, frame_rate=10.0)
    for dtype in ("uint16", "int32"):
        out = derivative_events(f.astype(dtype), timeout=15, frame_rate=10.0)
        np.testing.assert_array_equal(out, expected)


def test_derivative_refuses_gaps():
    f = deterministic_traces()
    expected = derivative_events(f, timeout=15, frame_rate=10.0)
    f[1] = np.nan
    out = derivative_events(f, timeout=15, frame_rate=10.0)
    assert not out[1].any()
    np.testing.assert_array_equal(out[::2], expected[::2])
    f[0, 7] = np.nan
    with pytest.raises(RowError, match=r"rows 0 have missing samples.*matched.*fill") as error:
        derivative_events(f, timeout=15, frame_rate=10.0)
    assert error.value.rows == [0]


def test_derivative_shapes_and_arguments():
    f = deterministic_traces()
    f.setflags(write=False)
    out = derivative_events(f.reshape(3, 1, 600), timeout=15, frame_rate=10.0)
    assert out.dtype == bool
    np.testing.assert_array_equal(out[:, 0], derivative_events(f, timeout=15, frame_rate=10.0))
    assert derivative_events(np.zeros((2, 0)), timeout=15, frame_rate=10.0).shape == (2, 0)
    assert not derivative_events(np.ones(50), timeout=15, frame_rate=10.0).any()
    for wrong in ({"timeout": 0, "frame_rate": 1.0}, {"timeout": 1, "frame_rate": 0.0}):
        with pytest.raises(ValueError, match="must be"):
            derivative_events(f, **wrong)


# -- matched filter: against known truth -----------------------------------------------------


def transients(t, onsets, decay, rise=RISE):
    """Sum of transients of peak one."""
    fine = np.linspace(0, 5 * decay, 20_001)
    peak = ((1 - np.exp(-fine / rise)) * np.exp(-fine / decay)).max()
    since = np.maximum(t[:, None] - np.asarray(onsets), 0)
    return ((1 - np.exp(-since / rise)) * np.exp(-since / decay)).sum(axis=1) / peak


def recording(*, frame_rate, decay, snr, gaps, minutes, rows, drift=0.0, seed=0):
    """Traces with σ = 1 on a level of 100, and the onsets in seconds."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(60 * minutes * frame_rate)) / frame_rate
    f, truth = [], []
    for _ in range(rows):
        onsets = 2 + np.cumsum(rng.uniform(*gaps, size=round(60 * minutes / gaps[0])))
        onsets = onsets[onsets < t[-1] - 2]
        level = 100 * (1 - drift * (1 - np.exp(-t / (20 * minutes))))
        f.append(level + snr * transients(t, onsets, decay) + rng.normal(size=len(t)))
        truth.append(onsets)
    return np.stack(f), truth


def matches(events, truth, frame_rate, tolerance=0.2):
    """Precision, recall and onset errors in samples, each event and onset used once."""
    errors, found = [], 0
    for row, onsets in zip(events, truth, strict=True):
        left = (np.flatnonzero(row) / frame_rate).tolist()
        found += len(left)
        for onset in onsets:
            nearest = min(left, key=lambda at: abs(at - onset), default=np.inf)
            if abs(nearest - onset) <= tolerance:
                left.remove(nearest)
                errors.append((nearest - onset) * frame_rate)
    return len(errors) / found, len(errors) / sum(map(len, truth)), np.array(errors)


@pytest.mark.parametrize("frame_rate", [10.0, 30.0])
@pytest.mark.parametrize("decay", [0.5, 0.7, 1.0])
@pytest.mark.parametrize("gaps", [(2.0, 2.05), (2.0, 4.0)])
@pytest.mark.parametrize("drift", [0.0, 0.3])
def test_bursts_at_snr_5(frame_rate, decay, gaps, drift):
    f, truth = recording(
        frame_rate=frame_rate, decay=decay, snr=5, gaps=gaps, minutes=5, rows=4, drift=drift
    )
    events = matched_events(f, frame_rate=frame_rate, rise=RISE, decay=decay)
    precision, recall, errors = matches(events, truth, frame_rate)
    assert precision >= 0.97
    assert recall >= 0.97
    assert np.median(np.abs(errors)) <= 1
    assert abs(np.median(errors)) <= 1


@pytest.mark.parametrize("snr", [3.0, 5.0, 10.0])
def test_bursts_of_synthetic_traces(snr):
    """Onsets at random, so that some fall into the rise of the one before."""
    truth = synthetic_traces(neurons=8, duration=300.0, snr=snr, seed=7)
    events = matched_events(truth.traces.values, frame_rate=30.0, rise=RISE, decay=0.7)
    onsets = [np.flatnonzero(row) / 30 for row in truth.events.values]
    precision, recall, errors = matches(events, onsets, 30.0)
    assert recall >= 0.9
    assert precision >= 0.95
    assert np.median(np.abs(errors)) <= 1


@pytest.mark.parametrize(("asked", "minutes"), [(0.1, 600), (1.0, 120)])
def test_false_positives_of_synthetic_noise(asked, minutes):
    """As many events as asked for, within a factor of 1.5: 60 and 120 of them are expected."""
    truth = synthetic_traces(neurons=minutes // 10, event_rate=0.0, seed=3)
    how = {"frame_rate": 30.0, "rise": RISE, "decay": 0.7, "false_positives": asked}
    measured = matched_events(truth.traces.values, **how).sum() / minutes
    assert asked / 1.5 < measured < asked * 1.5


@pytest.mark.parametrize(("frame_rate", "decay"), [(30.0, 0.5), (30.0, 1.0), (10.0, 0.5)])
def test_transients_one_second_apart_at_snr_10(frame_rate, decay):
    rng = np.random.default_rng(0)
    t = np.arange(round(12 * frame_rate)) / frame_rate
    truth = [[onset, onset + 1.0] for onset in rng.uniform(5, 6, 50)]
    f = np.stack([10 * transients(t, pair, decay) for pair in truth])
    events = matched_events(
        f + rng.normal(size=f.shape), frame_rate=frame_rate, rise=RISE, decay=decay
    )
    precision, recall, errors = matches(events, truth, frame_rate)
    # In 12 s with two transients, what their fit leaves over can raise the estimate of the noise.
    assert recall >= 0.9
    assert precision >= 0.97
    assert np.median(np.abs(errors)) <= 1


@pytest.mark.parametrize("asked", [0.5, 2.0])
@pytest.mark.parametrize("frame_rate", [5.0, 30.0])
def test_false_positives_of_white_noise(asked, frame_rate):
    minutes = 120
    f = np.random.default_rng(1).normal(size=(12, round(minutes * 5 * frame_rate)))
    events = matched_events(f, frame_rate=frame_rate, rise=RISE, decay=0.7, false_positives=asked)
    measured = events.sum() / minutes
    assert asked / 1.5 < measured < asked * 1.5


def up_crossings(values, level):
    above = values > level
    return np.count_nonzero(above[1:] & ~above[:-1])


@pytest.mark.parametrize("frame_rate", [2.0, 5.0, 30.0])
@pytest.mark.parametrize("per_minute", [2.0, 10.0])
def test_threshold_is_crossed_as_often_as_it_says(frame_rate, per_minute):
    windows = make_windows(frame_rate, RISE, 0.7)
    f = np.random.default_rng(2).normal(size=1_600_000)
    whole = np.ones(len(f), dtype=bool)
    scores = [amplitude_over_error(f, window, find_gaps(whole, window)) for window in windows]
    expected = per_minute * f.size / (60 * frame_rate)
    for window, score in zip(windows, scores, strict=True):
        level = crossing_level([window], per_minute / (60 * frame_rate))
        # three standard errors of a Poisson count
        np.testing.assert_allclose(up_crossings(score, level), expected, atol=3 * np.sqrt(expected))
    level = crossing_level(windows, per_minute / (60 * frame_rate))
    # 15 %: how often the other score is above at the same moment is an approximation
    np.testing.assert_allclose(up_crossings(np.fmax(*scores), level), expected, rtol=0.15)


@pytest.mark.parametrize("frame_rate", [2.0, 60.0])
def test_slow_and_fast_recordings(frame_rate):
    f, truth = recording(
        frame_rate=frame_rate, decay=1.2, snr=10, gaps=(8, 12), minutes=5, rows=3, seed=3
    )
    events = matched_events(f, frame_rate=frame_rate, rise=RISE, decay=1.2)
    precision, recall, errors = matches(events, truth, frame_rate, tolerance=1 / frame_rate + 0.1)
    assert precision >= 0.95
    assert recall >= 0.97
    assert np.median(np.abs(errors)) <= 1


# -- matched filter: the definition ----------------------------------------------------------


def score_reference(row, frame_rate, decay, sigma):
    """Least squares at every sample on the samples that are there; the larger of two windows."""
    best = np.full(len(row), np.nan)
    before = max(3, round(decay * frame_rate))
    for after in (max(3, round(1.5 * decay * frame_rate)), max(3, round(3 * decay * frame_rate))):
        s = np.arange(-before, after + 1)
        since = np.maximum(s, 0) / frame_rate
        rising = (1 - np.exp(-since / RISE)) * np.exp(-since / decay)
        terms = np.stack([np.ones(len(s)), np.exp(-s / frame_rate / decay), rising], axis=1)
        full = np.linalg.norm(np.linalg.pinv(terms)[2])
        for at in range(len(row)):
            place = at + s
            inside = (place >= 0) & (place < len(row))
            inside[inside] = ~np.isnan(row[place[inside]])
            if np.isnan(row[at]) or (inside & (s > 0)).sum() < 2:
                continue
            if np.linalg.matrix_rank(terms[inside]) < 3:
                continue
            weights = np.linalg.pinv(terms[inside])[2]
            if np.linalg.norm(weights) > 3 * full:
                continue
            z = weights @ row[place[inside]] / (sigma * np.linalg.norm(weights))
            best[at] = np.fmax(best[at], z)
    return best


@pytest.mark.parametrize("frame_rate", [2.0, 10.0, 30.0])
@pytest.mark.parametrize("gaps", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("length", [3, 20, 200])
def test_score_by_slow_loop(frame_rate, gaps, length):
    rng = np.random.default_rng(length)
    f = 50 + rng.normal(size=(2, length))
    f[rng.random(f.shape) < gaps] = np.nan
    f[:, length // 2 : length // 2 + 5] = np.nan if gaps else f[:, length // 2 : length // 2 + 5]
    score, _ = matched_score(f, frame_rate=frame_rate, rise=RISE, decay=0.6, noise=2.0)
    expected = np.stack([score_reference(row, frame_rate, 0.6, 2.0) for row in f])
    # 1e-7: near a gap the normal equations square the condition of the fit
    np.testing.assert_allclose(score, expected, atol=1e-7)


def test_gaps_leave_all_other_samples_identical():
    f, _ = recording(frame_rate=30.0, decay=0.7, snr=6, gaps=(2, 4), minutes=1, rows=4)
    how = {"frame_rate": 30.0, "rise": RISE, "decay": 0.7}
    score, _ = matched_score(f, **how, noise=1.0)
    events = matched_events(f, **how)
    gapped = f.copy()
    gapped[0, 700:760] = np.nan
    gapped[1, [100, 900]] = np.nan
    gapped[3] = np.nan
    after, _ = matched_score(gapped, **how, noise=1.0)
    far = np.ones(f.shape, dtype=bool)
    reach = round(3 * 0.7 * 30) + 1
    far[0, 700 - reach : 760 + reach] = False
    for at in (100, 900):
        far[1, at - reach : at + reach + 1] = False
    far[3] = False
    np.testing.assert_array_equal(after[far], score[far])
    found = matched_events(gapped, **how)
    np.testing.assert_array_equal(found[far], events[far])
    assert not found[np.isnan(gapped)].any()
    assert np.isnan(after[np.isnan(gapped)]).all()


def test_an_onset_within_a_gap_is_not_reported_at_its_edge():
    """A trace that comes back from a gap higher, in mid-decay, has not shown an onset."""
    f, truth = recording(frame_rate=30.0, decay=0.7, snr=30, gaps=(4, 6), minutes=2, rows=6)
    for row, onsets in zip(f, truth, strict=True):
        for onset in onsets[::2]:
            at = round(onset * 30)
            row[at - 10 : at + 8] = np.nan
    events = matched_events(f, frame_rate=30.0, rise=RISE, decay=0.7)
    precision, recall, _ = matches(events, [onsets[1::2] for onsets in truth], 30.0)
    assert recall == 1
    assert precision >= 0.97


def test_a_single_missing_frame_costs_no_event():
    f, truth = recording(frame_rate=30.0, decay=0.7, snr=8, gaps=(3, 5), minutes=3, rows=4)
    f[np.random.default_rng(0).random(f.shape) < 0.02] = np.nan
    for row, onsets in zip(f, truth, strict=True):
        row[np.round(onsets * 30).astype(int) - 2] = np.nan
    events = matched_events(f, frame_rate=30.0, rise=RISE, decay=0.7)
    precision, recall, _ = matches(events, truth, 30.0)
    assert recall >= 0.97
    assert precision >= 0.97


def test_scale_and_offset_do_not_matter():
    f, _ = recording(frame_rate=30.0, decay=0.7, snr=5, gaps=(2, 4), minutes=1, rows=3)
    f[1, 300:310] = np.nan
    how = {"frame_rate": 30.0, "rise": RISE, "decay": 0.7}
    score, threshold = matched_score(f, **how)
    events = matched_events(f, **how)
    assert events.any()
    for scale, offset in ((1e-3, 0.0), (8.0, -1e4), (1.0, 1e5)):
        again, same_threshold = matched_score(scale * f + offset, **how)
        # an offset of 1e5 takes six of sixteen digits, a gap some more
        np.testing.assert_allclose(again, score, atol=1e-6)
        assert same_threshold == threshold
        np.testing.assert_array_equal(matched_events(scale * f + offset, **how), events)


def test_events_are_peaks_of_the_score():
    f, _ = recording(frame_rate=30.0, decay=0.7, snr=5, gaps=(2, 4), minutes=1, rows=3)
    how = {"frame_rate": 30.0, "rise": RISE, "decay": 0.7}
    score, threshold = matched_score(f, **how)
    events = matched_events(f, **how)
    row, at = np.nonzero(events)
    assert (score[events] >= threshold).all()
    assert (score[row, at] >= score[row, at - 1]).all()
    assert (score[row, at] >= score[row, at + 1]).all()
    strict, high = matched_score(f, **how, false_positives=1e-4)
    assert high > threshold
    np.testing.assert_array_equal(strict, score)


def test_onset_is_the_last_sample_that_is_not_raised():
    t = np.arange(600) / 30
    f = np.random.default_rng(0).normal(0, 1e-3, 600) + transients(t, [t[300]], 0.7)
    assert where([matched_events(f, frame_rate=30.0, rise=RISE, decay=0.7)]) == [[300]]
    assert f[300] < 0.01 < f[301]


@pytest.mark.parametrize("dtype", ["uint16", "float32", "float64"])
def test_dtype_shape_and_input(dtype):
    f, _ = recording(frame_rate=30.0, decay=0.7, snr=9, gaps=(2, 4), minutes=1, rows=4)
    f = (f * 20).astype(dtype)
    before = f.copy()
    f.setflags(write=False)
    how = {"frame_rate": 30.0, "rise": RISE, "decay": 0.7}
    score, _ = matched_score(f.reshape(2, 2, -1), **how)
    events = matched_events(f.reshape(2, 2, -1), **how)
    assert score.dtype == ("float64" if dtype == "float64" else "float32")
    assert events.dtype == bool
    assert events.shape == score.shape == (2, 2, f.shape[-1])
    np.testing.assert_array_equal(f, before)
    for row, expected in zip(f, events.reshape(4, -1), strict=True):
        np.testing.assert_array_equal(matched_events(row, **how), expected)


def test_noise_by_row():
    f, _ = recording(frame_rate=30.0, decay=0.7, snr=5, gaps=(2, 4), minutes=1, rows=4)
    f = f.reshape(2, 2, -1)
    how = {"frame_rate": 30.0, "rise": RISE, "decay": 0.7}
    one, _ = matched_score(f, **how, noise=1.0)
    sigma = np.array([[1.0, 2.0], [0.5, 0.0]])
    score, _ = matched_score(f, **how, noise=sigma)
    np.testing.assert_allclose(score[0, 1], one[0, 1] / 2)
    np.testing.assert_allclose(score[1, 0], one[1, 0] * 2)
    assert np.isnan(score[1, 1]).all()
    assert not matched_events(f, **how, noise=sigma)[1, 1].any()


@pytest.mark.parametrize("row", [np.full(300, 7.0), np.full(300, np.nan), np.arange(2.0)])
def test_rows_without_a_noise_level_have_no_events(row):
    assert not matched_events(row, frame_rate=30.0, rise=RISE, decay=0.7).any()


def test_infinite_samples_do_not_warn():
    f, _ = recording(frame_rate=30.0, decay=0.7, snr=5, gaps=(2, 4), minutes=1, rows=2)
    expected = matched_events(f, frame_rate=30.0, rise=RISE, decay=0.7)
    f[0, 500] = np.inf
    events = matched_events(f, frame_rate=30.0, rise=RISE, decay=0.7)
    np.testing.assert_array_equal(events[1], expected[1])
    assert not events[0, 500]


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 50)])
def test_empty(shape):
    assert matched_events(np.zeros(shape), frame_rate=30.0, rise=RISE, decay=0.7).shape == shape


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"frame_rate": 0.0}, "frame_rate must be above 0"),
        ({"decay": -1.0}, "decay must be above 0"),
        ({"rise": -0.1}, "rise must be 0 or more"),
        ({"false_positives": 0.0}, "false_positives must be above 0"),
        ({"frame_rate": 0.01, "decay": 0.1}, "over within one frame"),
    ],
)
def test_arguments(wrong, message):
    with pytest.raises(ValueError, match=message):
        matched_events(np.ones(90), **({"frame_rate": 30.0, "rise": RISE, "decay": 0.7} | wrong))


def test_instant_rise():
    t = np.arange(900) / 30
    f = np.where(t >= 15, 10 * np.exp(-np.maximum(t - 15, 0) / 0.7), 0)
    f = f + np.random.default_rng(0).normal(size=900)
    at = np.flatnonzero(matched_events(f, frame_rate=30.0, rise=0.0, decay=0.7))
    assert np.abs(at - 450).max() <= 1
    assert len(at) == 1


SMOOTHERS = {
    "median": lambda f: median_filter(f, (1, 3)),
    "gaussian": lambda f: gaussian_filter1d(f, 1, axis=1),
}


@pytest.mark.parametrize("smooth", SMOOTHERS.values(), ids=SMOOTHERS)
def test_noise_smoothed_along_time_is_not_taken_for_events(smooth):
    noise = smooth(np.random.default_rng(0).normal(size=(4, 30 * 600)))
    found = matched_events(noise, frame_rate=30.0, rise=RISE, decay=0.5)
    # Asked for 0.1 a minute; judged by the differences alone it would be more than 10.
    assert found.sum() / 40 < 0.25


@pytest.mark.parametrize("smooth", SMOOTHERS.values(), ids=SMOOTHERS)
def test_bursts_in_smoothed_traces(smooth):
    f, truth = recording(
        frame_rate=30.0, decay=0.5, snr=5, gaps=(4, 15), minutes=5, rows=4, drift=0.0
    )
    events = matched_events(smooth(f), frame_rate=30.0, rise=RISE, decay=0.5)
    precision, recall, _ = matches(events, truth, 30.0)
    assert precision >= 0.9
    assert recall >= 0.97
