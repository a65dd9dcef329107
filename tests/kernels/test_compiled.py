"""Compiled loops: from several threads at once, after a fork, pickled, without a cache folder."""

import ast
import importlib
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import numpy as np
import pytest

from calscipy.kernels import median
from calscipy.kernels.compiled import Compiled, compiled, frozen

from .kernel_examples import EXAMPLES

HERE = Path(__file__).parent
KERNELS = HERE.parents[1] / "calscipy" / "kernels"


def test_every_module_with_compiled_loops_has_an_example():
    def has_loops(path):
        return "@compiled" in path.read_text(encoding="utf-8")

    with_loops = {path.stem for path in KERNELS.glob("*.py") if has_loops(path)} - {"compiled"}
    tree = ast.parse((HERE / "kernel_examples.py").read_text(encoding="utf-8"))
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "calscipy.kernels"
        for alias in node.names
    }
    through_others = {"median", "separable", "bin_loops", "moving_loops", "vector_loops"}
    assert with_loops - through_others <= imported
    assert "filters" in imported


def test_loops_call_loops_of_their_own_file_alone():
    """numba's cache on disk does not notice changes of other files."""
    for path in KERNELS.glob("*.py"):
        module = importlib.import_module(f"calscipy.kernels.{path.stem}")
        for loop in vars(module).values():
            if isinstance(loop, Compiled) and loop.__module__ == module.__name__:
                called = [vars(module).get(name) for name in loop._function.__code__.co_names]
                others = [c for c in called if isinstance(c, Compiled)]
                assert all(c.__module__ == loop.__module__ for c in others), loop.__name__


@pytest.mark.parametrize("name", EXAMPLES)
def test_four_threads_at_once(name):
    expected = EXAMPLES[name]()
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(lambda _: EXAMPLES[name](), range(12)):
            np.testing.assert_array_equal(result, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_after_a_fork():
    run = subprocess.run(
        [sys.executable, str(HERE / "kernel_examples.py")],
        capture_output=True,
        text=True,
        timeout=280,
        cwd=HERE.parents[1],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == [str(len(EXAMPLES))]


def test_loops_pickle_by_name():
    assert pickle.loads(pickle.dumps(median._sort_3)) is median._sort_3


def test_the_loops_are_serial_and_release_the_gil():
    options = median._sort_3.dispatcher.targetoptions
    assert options["nogil"] is True
    assert not options.get("parallel", False)


def test_without_a_folder_for_the_cache(monkeypatch):
    real = numba.njit

    def njit(*args, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return real(*args, **options)

    monkeypatch.setattr(numba, "njit", njit)

    @compiled
    def twice(x):
        return 2 * x

    assert twice(21) == 42


def test_frozen_arrays_have_one_type_and_are_not_copied_without_need():
    array = np.arange(6, dtype="uint16").reshape(2, 3)
    view = frozen(array)
    assert np.shares_memory(view, array)
    assert not view.flags.writeable
    assert array.flags.writeable
    for other in (array.astype(">u2"), array.T.copy().T, np.asfortranarray(array)):
        same = frozen(other)
        np.testing.assert_array_equal(same, array)
        assert same.dtype == np.dtype("uint16")
        assert same.flags.c_contiguous
    assert frozen(array, np.dtype("f4")).dtype == np.float32
