"""What every test and every docstring example shares."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

# Figures are drawn without a screen, also in the kernels that notebooks run in.
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(autouse=True)
def _example(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let docstring examples write files without a trace."""
    if isinstance(request.node, pytest.DoctestItem):
        monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True, scope="session")
def _example_names(doctest_namespace: dict[str, object]) -> None:
    """Give docstring examples the names that every notebook imports first."""
    import calscipy as cs

    doctest_namespace.update(np=np, xr=xr, cs=cs)


def _gpu_works() -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy warns when it finds no CUDA
        try:
            import cupy

            return bool(cupy.is_available())
        except Exception:  # a broken driver raises anything
            return False


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    gpu_items = [item for item in items if item.get_closest_marker("gpu")]
    if gpu_items and not _gpu_works():
        for item in gpu_items:
            item.add_marker(pytest.mark.skip(reason="needs an NVIDIA GPU and CuPy"))
