"""Fixtures of several files."""

import pytest

from calscipy.io.prairieview import frames


@pytest.fixture(params=[False, True], ids=["one by one", "all at once"])
def loop(request, monkeypatch):
    """Whether plain frames are read by the compiled loop, as those of large movies are."""
    if request.param and not frames.CAN_READ_ALL:
        pytest.skip("the system has no preadv")
    monkeypatch.setattr(frames, "_LARGE_BYTES", 0)
    monkeypatch.setattr(frames, "in_use", lambda: request.param)
