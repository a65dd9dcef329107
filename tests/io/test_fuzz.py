"""Mutated recordings: quick, bounded, inside their folder, and only errors of calscipy's own."""

import contextlib
import random
import resource
import sys
import time
import warnings

import pytest

import calscipy as cs
from calscipy.errors import CalscipyError
from calscipy.testing import VARIANTS, write_variant

SECRET = "secret.txt"
TEXT = {".xml", ".env", ".cfg", ".csv", ".lsd", ".gpl"}
TOKENS = (
    "../" + SECRET,
    "..\\" + SECRET,
    "&#x1;",
    "&bomb;",
    '<!DOCTYPE a [<!ENTITY bomb SYSTEM "file:///etc/passwd">]>',
    "∞",
    "NaN",
    "-1",
    "1e308",
    "9" * 400,
    '"',
    "<",
    ">",
    "\0",
    "é\u03bc",
    "CON",
    "<Frame />",
    "<PVStateShard>",
    ",,,",
    "\r\n" * 50,
    " " * 2000,
)
LONGEST = 20.0  # s; what is not linear takes far longer
MOST_BYTES = 2**30

opened: set[str] = set()
sys.addaudithook(
    lambda event, arguments: (
        opened.add(str(arguments[0])) if event == "open" and SECRET in str(arguments[0]) else None
    )
)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """One small recording of each kind, beside a file that nothing may read."""
    root = tmp_path_factory.mktemp("fuzz")
    (root / SECRET).write_text("nobody reads this")
    opened.clear()
    for number, name in enumerate(VARIANTS):
        write_variant(root / str(number), name)
    return [root / str(number) for number in range(len(VARIANTS))]


def mutated(content: bytes, draw: random.Random) -> bytes:
    data = bytearray(content)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(data) + 1)
        end = min(len(data), at + draw.choice((1, 3, 20, 200)))
        kind = draw.randrange(6)
        if kind == 0 and data:
            data[min(at, len(data) - 1)] = draw.randrange(256)
        elif kind == 1:
            del data[at:end]
        elif kind == 2:
            data[at:at] = data[at:end] * draw.choice((1, 3, 30))
        elif kind == 3:
            data[at:at] = draw.choice(TOKENS).encode()
        elif kind == 4:
            del data[at:]
        else:
            digits = [i for i, byte in enumerate(data) if 48 <= byte <= 57]
            if digits:
                where = draw.choice(digits)
                data[where : where + 1] = draw.choice(TOKENS).encode()
    return bytes(data)


def look_at(folder) -> None:
    """Open a recording and read what it holds."""
    session = cs.ImagingSession.open(folder)
    for node in session.tree.children.values():
        node.to_dataset().isel({dim: slice(0, 3) for dim in node.dims}).load()
    repr(session)
    session._repr_html_()


def check(folder, draw: random.Random) -> None:
    files = sorted(path for path in folder.iterdir() if path.suffix in TEXT)
    if not files:
        return
    path = draw.choice(files)
    before = path.read_bytes()
    inside = {entry.name for entry in folder.iterdir()}
    outside = {entry.name for entry in folder.parent.iterdir()}
    path.write_bytes(mutated(before, draw))
    start = time.perf_counter()
    try:
        with warnings.catch_warnings(), contextlib.suppress(CalscipyError):
            warnings.simplefilter("ignore")
            look_at(folder)
    finally:
        path.write_bytes(before)
    assert time.perf_counter() - start < LONGEST
    assert {entry.name for entry in folder.iterdir()} == inside
    assert {entry.name for entry in folder.parent.iterdir()} == outside
    assert not opened


def run(recordings, count: int, seed: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for number in range(count):
        draw = random.Random(seed + number)
        try:
            check(draw.choice(recordings), draw)
        except Exception as error:
            raise AssertionError(f"mutation {seed + number}: {error!r}") from error
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < MOST_BYTES


def test_some_mutated_recordings(recordings):
    run(recordings, 300, seed=0)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_thousands_of_mutated_recordings(recordings):
    run(recordings, 20_000, seed=10_000)
