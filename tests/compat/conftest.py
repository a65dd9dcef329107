"""What the tests of compat share."""

import dask
import pytest

from calscipy.compat._common import note


@pytest.fixture(autouse=True)
def _quiet_and_alone():
    """Let every test see the warnings that are given once in a process, and use one thread."""
    note.cache_clear()
    with dask.config.set(scheduler="sync"):
        yield
    note.cache_clear()
