"""Labels come back from their text exactly, and a hostile text gives an error and no memory."""

import base64
import json
import math
import zlib

import numpy as np
import pytest
import xarray as xr

from calscipy.errors import RecordingError, StoreError
from calscipy.io import labels
from calscipy.io.labels import labels_text, read_labels

NESTED = {
    "history": 'first "line"\nsecond <&> \u00e9\u4e2d\u0000',
    "none": None,
    "flags": [True, False],
    "nested": {"$": 1, "a": {"b": [1, 2.5, "x", None, {}]}, "empty": []},
    "numbers": [1e-300, 0.1, 2**63, -(2**63), math.inf, -math.inf],
    "array": np.arange(6, dtype="i2").reshape(2, 3),
    "long": np.linspace(0, 1, 1000),
}


def labelled():
    coords = {
        "time": ("frames", np.cumsum(np.full(200, 1 / 29.97)), {"units": "s"}),
        "valid": ("frames", np.arange(200) % 7 != 0),
        "cycle": ("frames", np.repeat(np.arange(4), 50).astype("u1")),
        "when": ("frames", np.datetime64("2024-02-29T12:00", "ns") + np.arange(200)),
        "short": ("y", np.array([np.nan, 0.1], "f4")),
        "channel": ((), "r\u00f6d", {"long_name": "channel"}),
        "plane_time": (("frames", "y"), np.random.default_rng(0).random((200, 2))),
        "words": ("x", ["", "b,c", "\u00e4"]),
        "none": ("x", np.array(["", "", ""])),
    }
    return xr.DataArray(
        np.zeros((200, 2, 3), "u2"), coords, ("frames", "y", "x"), name="movie", attrs=NESTED
    )


def test_everything_comes_back():
    data = labelled()
    found = read_labels(labels_text(data), "file")
    back = found.label(data.variable.transpose("y", "x", "frames"))
    xr.testing.assert_identical(back, data)
    assert found.sizes == dict(data.sizes)
    for name, coordinate in data.coords.items():
        assert back[name].dtype == coordinate.dtype
    assert back.attrs["nested"] == NESTED["nested"]
    assert back.attrs["long"].dtype == float
    assert type(back.attrs["flags"][0]) is bool


def test_the_text_is_strict_ascii_json():
    text = labels_text(labelled().assign_attrs(nan=math.nan))
    assert text.isascii()
    json.loads(text, parse_constant=pytest.fail)
    assert math.isnan(read_labels(text, "file").attrs["nan"])


def test_numbers_of_numpy_and_tuples_become_those_of_python():
    data = xr.DataArray(1.0, attrs={"a": (1, np.int8(2)), "b": np.float32(0.5), "c": np.bool_(1)})
    assert read_labels(labels_text(data), "f").attrs == {"a": [1, 2], "b": 0.5, "c": True}


def test_lazy_coordinates_are_written():
    data = xr.DataArray(np.zeros(3), {"shift": ("x", np.arange(3.0))}, "x").chunk()
    assert read_labels(labels_text(data), "f").coords["shift"].values.tolist() == [0, 1, 2]


def test_coordinates_can_be_left_out():
    found = read_labels(labels_text(labelled(), without=("time", "words")), "f")
    assert set(labelled().coords) - set(found.coords) == {"time", "words"}


@pytest.mark.parametrize(
    ("attrs", "name"),
    [
        ({"when": np.datetime64("2020-01-01")}, "when"),
        ({"deep": {"er": [object()]}}, "deep.er"),
        ({"raw": b"bytes"}, "raw"),
        ({"z": 1j}, "z"),
        ({"set": {1}}, "set"),
        ({1: "a", "1": "b"}, "movie"),
    ],
)
def test_attributes_that_no_text_holds_are_named(attrs, name):
    with pytest.raises(StoreError, match=name):
        labels_text(xr.DataArray(0, attrs=attrs, name="movie"))


def test_coordinates_that_no_text_holds_are_named():
    several = xr.DataArray(np.zeros(4), {"a": ("x", [0, 0, 1, 1]), "b": ("x", [0, 1, 0, 1])}, "x")
    with pytest.raises(StoreError, match="several levels"):
        labels_text(several.set_index(x=("a", "b")))
    with pytest.raises(StoreError, match="complex128"):
        labels_text(xr.DataArray([0], {"z": ("x", [1j])}, "x"))
    with pytest.raises(StoreError, match="name by text"):
        labels_text(xr.DataArray([0], {3: ("x", [1])}, "x"))


def described(**changes):
    text = json.loads(labels_text(xr.DataArray(np.zeros(4), {"x": np.arange(4.0)}, "x")))
    return json.dumps(text | changes)


def coordinate(**changes):
    whole = {"dims": ["x"], "attrs": {}, "shape": [4], "dtype": "<f8", "values": [0, 1, 2, 3]}
    whole |= changes
    return described(coords={"x": {k: v for k, v in whole.items() if v is not None}})


def packed(size, declared=None):
    data = base64.b64encode(zlib.compress(bytes(size))).decode()
    return {"zlib": data, "values": None, "shape": [4 if declared is None else declared]}


WIDE = ["a" * 2**19, *[""] * 1000]  # 2 GB in an array of NumPy
HOSTILE = {
    "nothing": "",
    "no JSON": "{",
    "no object": "[]",
    "another object": '{"a": 1}',
    "deep": "[" * 100_000,
    "deep attrs": '{"calscipy_labels":1,"attrs":' + "[" * 100_000,
    "no version": described(calscipy_labels="1"),
    "missing": '{"calscipy_labels":1}',
    "shape of words": described(shape=["4"]),
    "negative shape": described(shape=[-4]),
    "another number of dims": described(shape=[4, 4]),
    "objects": described(dtype="O"),
    "records": described(dtype=[["a", "<f8"]]),
    "void": described(dtype="V1000000000"),
    "coordinate of another length": coordinate(shape=[5], values=[0] * 5),
    "coordinate of another dim": coordinate(dims=["y"]),
    "too few values": coordinate(values=[0]),
    "values that are words": coordinate(values=["0", "1", "2", "3"]),
    "bomb": coordinate(**packed(2**24)),
    "too short": coordinate(**packed(8)),
    "no base64": coordinate(values=None, zlib="!!!!"),
    "wide texts": described(
        attrs={
            "a": {
                "$": "array",
                "dtype": "U",
                "shape": [1001],
                "values": ["a" * 2**19, *[""] * 1000],
            }
        }
    ),
    "tag": described(attrs={"a": {"$": "eval", "value": "1"}}),
    "float": described(attrs={"a": {"$": "float", "value": "1e999"}}),
    "huge array": described(attrs={"a": {"$": "array", "dtype": "<f8", "shape": [2**40]}}),
    "name": described(name=3),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_texts_are_refused(kind):
    with pytest.raises(RecordingError, match=r"movie\.tif"):
        read_labels(HOSTILE[kind], "movie.tif")


def test_a_newer_format_is_refused_with_the_remedy():
    with pytest.raises(RecordingError, match=r"format 2.* up to 1.*Update"):
        read_labels(described(calscipy_labels=2), "movie.tif")


def test_many_arrays_together_are_limited(monkeypatch):
    monkeypatch.setattr(labels, "MAX_BYTES", 100)
    data = xr.DataArray(np.zeros(8), {"a": ("x", np.arange(8.0)), "b": ("x", np.arange(8.0))}, "x")
    with pytest.raises(RecordingError, match="over 100 bytes"):
        read_labels(labels_text(data), "f")
