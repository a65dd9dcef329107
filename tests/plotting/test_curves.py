"""Long traces of many neurons are drawn as bands, which look like the lines they stand for."""

import numpy as np
import pytest
from matplotlib.figure import Figure

import calscipy as cs
from calscipy.plotting.curves import Curves, curves_of, draw_curves
from calscipy.plotting.series import rows_of

from .looks import lines_of, rendered


def rows(values: np.ndarray, **coordinates):
    traces = cs.from_numpy(values, frame_rate=10).assign_coords(coordinates)
    return rows_of(traces, "test")


def noise(neurons: int, samples: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (neurons, samples))


def axes(values: np.ndarray):
    axis = Figure(figsize=(6, 3), dpi=100).add_axes((0, 0, 1, 1))
    axis.axis("off")
    axis.set(xlim=(0, values.shape[1] / 10), ylim=(-5, 9))
    return axis


def test_short_curves_are_the_samples():
    values = noise(20, 500)
    curves = curves_of(axes(values), rows(values))
    assert not curves.step
    np.testing.assert_array_equal(curves.low, values)
    assert curves.high is curves.low
    moved = curves.moved(np.arange(20.0), 3.0)
    np.testing.assert_allclose(moved.low, 3 * values + np.arange(20)[:, None])
    assert moved.high is moved.low


def test_a_few_long_curves_are_lines_through_their_extremes():
    values = noise(3, 30_000)
    values[1, 12_345] = 8.0
    curves = curves_of(axes(values), rows(values))
    assert not curves.step
    assert curves.low.shape == (3, 4000)
    assert curves.times[1, curves.low[1].argmax()] == 1234.5
    drawn = draw_curves(axes(values), curves, ["red"] * 3)
    np.testing.assert_array_equal(lines_of(drawn)[1], np.stack([curves.times, curves.low], -1)[1])


def test_bands_reach_from_the_lowest_to_the_highest_sample():
    values = noise(13, 30_000)
    values[1, 12_345] = 8.0
    curves = curves_of(axes(values), rows(values))
    assert curves.step == pytest.approx(3000 / 480, rel=0.01)  # 80 columns in an inch
    np.testing.assert_array_equal(curves.low.min(axis=1), values.min(axis=1))
    np.testing.assert_array_equal(curves.high.max(axis=1), values.max(axis=1))
    drawn = draw_curves(axes(values), curves, ["red", *["green"] * 12], width=2)
    half = 14 / (3 * 72)  # a point in the units of the data
    for shape, low, high in zip(lines_of(drawn), curves.low, curves.high, strict=True):
        np.testing.assert_allclose(shape[1:481, 1], high + half)
        np.testing.assert_allclose(shape[483:963, 1], (low - half)[::-1])
    shown = drawn.get_facecolors()
    assert shown[0, 0] > shown[0, 1]
    assert shown[1, 1] > shown[1, 0]


def test_bands_end_at_gaps_and_lone_columns_are_seen():
    values = noise(13, 30_000)
    values[0, 9000:12_000] = np.nan
    values[0, 10_000] = 0.0
    curves = curves_of(axes(values), rows(values, epoch=("time", np.repeat([1, 2], 15_000))))
    one = Curves(curves.times, curves.low[:1], curves.high[:1], curves.step)
    drawn = draw_curves(axes(values), one, ["black"])
    spans = [(shape[:, 0].min(), shape[:, 0].max()) for shape in lines_of(drawn)]
    assert spans[1][1] - spans[1][0] == pytest.approx(curves.step)
    wanted = [(0, 900), (1000, 1000), (1200, 1500), (1500, 3000)]
    for found, real in zip(spans, wanted, strict=True):
        assert found == pytest.approx(real, abs=2 * curves.step)


@pytest.mark.parametrize("kind", ["noise", "peaks", "flat"])
def test_bands_look_like_lines(kind):
    values = noise(13, 24_000)
    if kind == "peaks":
        values *= 0.1
        values[:, ::1999] = 7.0
    if kind == "flat":
        values *= 0
    curves = curves_of(axes(values), rows(values))
    assert curves.step
    band = Curves(curves.times, curves.low[:1], curves.high[:1], curves.step)
    line = Curves(np.arange(24_000) / 10, values[:1], values[:1], 0.0)
    pictures = []
    for own in (band, line):
        axis = axes(values)
        draw_curves(axis, own, ["black"])
        pictures.append(1 - rendered(axis.figure)[..., 0] / 255)
    band, line = pictures
    assert band.max() > 0.5
    # About as much ink, and most of it in the same places.
    assert band.sum() == pytest.approx(line.sum(), rel=0.25)
    if kind != "flat":  # which matplotlib moves to whole pixels if it is a line
        assert np.abs(band - line).sum() < 0.3 * line.sum()
    if kind == "peaks":
        tops = band[45:100].max(axis=0)  # in the upper half of the peaks
        assert (np.diff((tops > 0.4).astype(int)) > 0).sum() == 12  # each of them is seen
