"""Colours that everybody can tell apart, labels with units, contrast that a few pixels leave."""

import itertools

import numpy as np
import pytest
import xarray as xr
from matplotlib import colormaps
from matplotlib.colors import to_rgb

from calscipy.plotting import style

# What people without one kind of cones see, in linear RGB: Machado et al. 2009,
# doi:10.1109/TVCG.2009.113.
SEEN = {
    "all cones": np.eye(3),
    "no L cones": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "no M cones": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
}
TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)


def linear(colour) -> np.ndarray:
    rgb = np.asarray(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / (TO_XYZ @ np.ones(3))
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("eye", SEEN)
def test_colours_differ_for_every_eye(eye):
    seen = [lab(SEEN[eye] @ linear(colour)) for colour in style.COLOURS]
    apart = [np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)]
    assert min(apart) > 15  # 2 can just be told apart side by side
    for paper in ("white", "black"):
        own = lab(linear(paper))
        assert min(abs(colour[0] - own[0]) for colour in seen) > 20


def test_lightness_rises_evenly_along_the_map_of_values():
    for name in (style.HEAT_MAP, style.IMAGE_MAP):
        steps = colormaps[name](np.linspace(0, 1, 64))[:, :3]
        light = np.diff([lab(linear(colour))[0] for colour in steps])
        assert light.min() > 0
        assert light.max() < 2.5 * np.median(light)


@pytest.mark.parametrize(
    ("units", "shown"),
    [
        ("um", "µm"), ("um^2", "µm²"), ("um**2", "µm²"), ("us", "µs"), ("uV", "µV"),
        ("um s-1", "µm s⁻¹"), ("um/px", "µm/px"), ("count", "counts"), ("1", ""), ("", ""),
        (None, ""), ("s", "s"), ("Hz", "Hz"), ("percent", "%"), ("cm/s", "cm/s"),
        ("umbrella", "umbrella"), ("mV", "mV"), ("dB", "dB"),
    ],
)  # fmt: skip
def test_units_are_written_as_people_write_them(units, shown):
    assert style.units_text(units) == shown


def test_labels_come_from_the_attributes():
    data = xr.DataArray(0.0, attrs={"long_name": "noise", "units": "count"}, name="sigma")
    assert style.label(data) == "noise [counts]"
    assert style.label(data.assign_attrs(units="1")) == "noise"
    assert style.label(xr.DataArray(0.0, name="sigma")) == "sigma"
    assert style.label(xr.DataArray(0.0), "traces") == "traces"
    time = xr.DataArray([0.0], {"time": [0.0]}, ("time",))
    assert style.seconds_label(time) == "time [s]"
    time["time"].attrs["long_name"] = "time since the first frame"
    assert style.seconds_label(time) == "time since the first frame [s]"


def test_contrast_leaves_a_few_pixels_out():
    assert style.contrast_limits(np.full((2, 2), np.nan)) == (0.0, 1.0)
    assert style.contrast_limits(np.full((2, 2), 7.0)) == (7.0, 8.0)
    low, high = style.contrast_limits(np.append(np.arange(1000.0), 1e9))
    assert 0 < low < 20
    assert 990 < high < 1000
    one = np.zeros((100, 100))
    one[3, 4] = 5.0
    assert style.contrast_limits(one) == (0.0, 5.0)
    holes = np.arange(100.0)
    holes[::2] = np.nan
    assert style.contrast_limits(holes, (0, 100)) == (1.0, 99.0)
    assert style.contrast_limits(np.array([True, False]))[1] > 0
    big = np.random.default_rng(0).normal(0, 1, (1500, 1500)).astype("f4")
    np.testing.assert_allclose(style.contrast_limits(big), np.percentile(big, (1, 99.7)), atol=0.02)
