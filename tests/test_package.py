"""What ``calscipy.`` offers, and what it imports only when it is used."""

import subprocess
import sys
import types

import pytest

import calscipy as cs


def test_later_modules_are_attributes_that_import_does_not_load():
    code = """
import sys
import calscipy as cs
later = [name for name in ("compat", "testing") if f"calscipy.{name}" in sys.modules]
assert not later, later
dir(cs)
assert "calscipy.testing" not in sys.modules
assert callable(cs.testing.write_recording)
assert cs.compat.reorganization is not None
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_completion_shows_what_is_for_users():
    offered = {name for name in dir(cs) if not name.startswith("_")}
    inner = {"accessors", "attaching", "blocks", "joining", "kernels", "trees", "session_methods"}
    assert not offered & (inner | {"importlib", "TYPE_CHECKING", "Any"})
    assert set(cs.__all__) <= set(dir(cs))
    assert {"testing", "compat", "plotting", "prairieview", "errors"} <= offered
    modules = {name for name in offered if isinstance(getattr(cs, name), types.ModuleType)}
    assert modules == {
        "compat", "errors", "photostimulation", "plotting", "prairieview", "testing"
    }  # fmt: skip


def test_inner_modules_can_still_be_reached():
    assert cs.kernels.__name__ == "calscipy.kernels"


def test_a_name_that_is_none_is_an_attribute_error():
    assert not hasattr(cs, "tresting")
    with pytest.raises(AttributeError, match="'calscipy' has no attribute 'tresting'"):
        cs.tresting  # noqa: B018
