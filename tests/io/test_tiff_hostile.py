"""TIFF files that claim what they do not hold: refused with a reason, in little memory."""

import logging
import lzma
import struct
import tracemalloc
import warnings
import zlib

import numpy as np
import pytest
import tifffile

from calscipy import model
from calscipy.errors import CalscipyError, CalscipyWarning, FrameError, RecordingError
from calscipy.io import tiff_directories, tiff_pages
from calscipy.io.tiff import open_tiff

SHAPE = (64, 64)
MEGABYTE = 10**6
WIDTH, LENGTH, DESCRIPTION, OFFSETS, COUNTS, TILE_WIDTH, TILE_LENGTH = (
    256, 257, 270, 273, 279, 322, 323,
)  # fmt: skip


def write(path, data=None, **options):
    data = np.zeros(SHAPE, "uint16") if data is None else data
    tifffile.imwrite(path, data, **{"photometric": "minisblack"} | options)
    return path


def claim(path, **tags):
    """Let tags of the first page claim other values, ``t256=(type, count, value)``."""
    with tifffile.TiffFile(path) as file:
        places = {code: file.pages[0].tags[int(code[1:])].offset for code in tags}
    with path.open("r+b") as stream:
        for code, values in tags.items():
            stream.seek(places[code] + 2)
            stream.write(struct.pack("<HII", *values))
    return path


def open_and_read(path):
    movie = open_tiff(path, frame_rate=1)[model.MOVIE][model.MOVIE]
    return movie[:1].values


class bounded:
    """Fail if more memory than this is taken inside."""

    def __init__(self, most):
        self.most = most

    def __enter__(self):
        tracemalloc.start()

    def __exit__(self, *error):
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < self.most, f"{peak} bytes"


@pytest.mark.parametrize(
    ("tags", "options", "message"),
    [
        (  # 4.5 TB
            {"t256": (4, 1, 1_500_000), "t257": (4, 1, 1_500_000)},
            {"compression": "zlib"},
            "expected images of 1 to 268435456 pixels, found 1500000 x 1500000",
        ),
        (
            {"t256": (4, 1, 16_000), "t257": (4, 1, 16_000)},
            {"compression": "zlib"},
            "512000000 bytes of pixels are said to come from 31 bytes",
        ),
        ({"t257": (4, 1, 2**32 - 1)}, {}, "expected images of 1 to"),
        ({"t273": (4, 2**31 - 1, 8)}, {}, "tag 273 claims 2147483647 values"),
        ({"t273": (4, 2**20, 8)}, {}, "tag 273 claims 4194304 bytes at byte 8"),
        ({"t273": (4, 1, 2**32 - 100)}, {}, "0 are complete"),
        ({"t279": (4, 1, 2**32 - 1)}, {}, "0 are complete"),
        ({"t270": (2, 2**32 - 1, 8)}, {"description": "x" * 50}, "tag 270 claims 4294967295"),
        ({"t270": (2, 2**20, 8)}, {"description": "x" * 50}, "tag 270 claims 1048576 bytes"),
        (
            {"t322": (4, 1, 2**20), "t323": (4, 1, 2**20)},
            {"tile": (16, 16), "compression": "zlib"},
            "strips or tiles of up to 1048576 pixels, found 1048576 x 1048576",
        ),
    ],
    ids=["4 TB", "packed", "long", "strips", "strips past the end", "offset", "giant strip",
         "text", "text past the end", "tile"],
)  # fmt: skip
def test_claims_of_tags(tmp_path, tags, options, message):
    options = options | ({"metadata": None} if "description" in options else {})
    path = claim(write(tmp_path / "a.tif", **options), **tags)
    with bounded(4 * MEGABYTE), pytest.raises(RecordingError, match=message) as caught:
        open_and_read(path)
    assert str(caught.value).startswith(str(path))


BOMBS = {
    "zlib": lambda: zlib.compress(bytes(2**25)),
    "packbits": lambda: bytes((129, 0)) * 2**18,
    "lzma": lambda: lzma.compress(bytes(2**25), preset=0),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_strips_that_unpack_to_more_than_the_image(tmp_path, kind):
    path = write(tmp_path / "a.tif", compression=kind)
    bomb = BOMBS[kind]()  # of 32 MB
    with path.open("ab") as stream:
        place = stream.tell()
        stream.write(bomb)
    claim(path, t273=(4, 1, place), t279=(4, 1, len(bomb)))
    # It is cut off at the size of the image, or refused.
    with bounded(4 * MEGABYTE + 2 * len(bomb)):
        try:
            assert open_and_read(path).shape == (1, *SHAPE)
        except FrameError as error:
            assert "page 1 cannot be read" in str(error)  # noqa: PT017


def chain(count, last):
    """Directories that follow each other, all of the same pixels; the last one names ``last``."""
    tags = [(256, 4, 64), (257, 4, 64), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 16, 16),
            (277, 3, 1), (278, 4, 64), (279, 4, 8192)]  # fmt: skip
    size = 8 + 20 * len(tags) + 8
    start = 16 + 8192
    body = bytearray(struct.pack("<2sHHHQ", b"II", 43, 8, 0, start) + bytes(8192))
    for at in range(count):
        body += struct.pack("<Q", len(tags))
        for code, kind, value in tags:
            body += struct.pack("<HHQQ", code, kind, 1, value)
        following = start + (at + 1) * size
        body += struct.pack("<Q", last * size + start if at + 1 == count else following)
    return bytes(body)


@pytest.mark.parametrize(("count", "back"), [(1, 0), (2, 0), (7, 3), (1000, 0), (1000, 998)])
def test_directories_that_run_in_a_circle(tmp_path, count, back):
    path = tmp_path / "a.tif"
    path.write_bytes(chain(count, back))
    message = rf"{count} are complete \(the directory of page {count + 1} is one that came before"
    with bounded(4 * MEGABYTE), pytest.raises(FrameError, match=message):
        open_and_read(path)


def test_no_end_of_directories(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff_directories, "MAX_PAGES", 500)
    path = tmp_path / "a.tif"
    path.write_bytes(chain(2000, 0))
    with bounded(4 * MEGABYTE), pytest.raises(FrameError, match="more than 500 pages"):
        open_and_read(path)


@pytest.mark.parametrize(
    "sizes",
    [
        'SizeC="1" SizeZ="1" SizeT="2000000000"',
        'SizeC="2000000" SizeZ="200000" SizeT="1"',
        'SizeC="1" SizeZ="2000000000" SizeT="2"',
        'SizeC="1" SizeZ="1" SizeT="9999999999999999999999"',
    ],
)
def test_claims_of_ome_metadata(tmp_path, sizes):
    pages = np.zeros((4, *SHAPE), "uint16")
    text = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        f'<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="64" SizeY="64" {sizes}>'
        '<Channel Name="a"/></Pixels></Image></OME>'
    )
    path = write(tmp_path / "a.tif", pages, description=text, metadata=None)
    with bounded(4 * MEGABYTE), warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        try:
            assert open_and_read(path).shape == (1, *SHAPE)
            assert seen
        except RecordingError as error:
            assert "OME metadata" in str(error)  # noqa: PT017


def test_metadata_that_grow_when_they_are_read(tmp_path):
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 20 if n else "x" * 100}">'
                       for n in range(8))  # fmt: skip
    text = f"<?xml version='1.0'?><!DOCTYPE a [{entities}]><OME><Image>&e7;</Image></OME>"
    path = write(tmp_path / "a.tif", description=text, metadata=None)
    with bounded(4 * MEGABYTE), pytest.raises(RecordingError, match="document type"):
        open_and_read(path)


def test_what_tifffile_only_logs_is_an_error(tmp_path, monkeypatch, caplog):
    path = write(tmp_path / "a.tif", np.zeros((3, *SHAPE), "uint16"), metadata=None)
    movie = open_tiff(path, frame_rate=1)[model.MOVIE][model.MOVIE]
    decode = tifffile.TiffPage.asarray

    def asarray(page, *args, **options):
        logging.getLogger("tifffile").error("the second half is missing")
        return decode(page, *args, **options)

    monkeypatch.setattr(tifffile.TiffPage, "asarray", asarray)
    with pytest.raises(FrameError, match=r"page 2 cannot be read.*the second half is missing"):
        movie[1].values  # noqa: B018
    assert not caplog.records
    monkeypatch.undo()
    logging.getLogger("tifffile").error("of somebody else")
    assert [record.getMessage() for record in caplog.records] == ["of somebody else"]
    assert movie[1].values.shape == SHAPE


KINDS = {
    "plain": {"metadata": None},
    "imagej": {"imagej": True, "metadata": {"axes": "TCYX", "finterval": 0.1}},
    "ome": {"ome": True, "metadata": {"axes": "TCYX", "TimeIncrement": 0.1}},
    "big zlib": {"bigtiff": True, "compression": "zlib"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_bytes_fail_with_our_errors_alone(tmp_path, monkeypatch, kind):
    """Every file opens, or fails with a reason; none takes much memory."""
    monkeypatch.setattr(tiff_pages, "_SURELY_FITS", MEGABYTE)
    generator = np.random.default_rng(5)
    data = generator.integers(0, 99, (3, 2, 8, 8), "uint16")
    whole = write(tmp_path / "whole.tif", data, **KINDS[kind]).read_bytes()
    path = tmp_path / "a.tif"
    outcomes = set()
    for _ in range(40):
        body = bytearray(whole)
        for at in generator.integers(0, len(body), generator.integers(1, 6)):
            body[at] = generator.integers(0, 256)
        path.write_bytes(body[: generator.integers(len(body) // 2, len(body) + 1)]
                         if generator.random() < 0.2 else body)  # fmt: skip
        with bounded(8 * MEGABYTE), warnings.catch_warnings():
            warnings.simplefilter("ignore", CalscipyWarning)
            try:
                open_tiff(path, frame_rate=1)[model.MOVIE][model.MOVIE].values  # noqa: B018
                outcomes.add("opened")
            except CalscipyError as error:
                assert str(path) in str(error)  # noqa: PT017
                outcomes.add("refused")
    assert "refused" in outcomes
