"""Imports point one way (STYLE.md, section 1).

The checker below reads source text only, so imports inside functions and under TYPE_CHECKING count,
and so do ``import_module("...")`` calls with a literal name.
"""

import ast
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "calscipy"

WORDS = frozenset({"model", "errors", "options", "history"})
# Which groups the modules of a group may import. Names not listed are the top: they may import all.
MAY_IMPORT = {
    **dict.fromkeys(WORDS, WORDS),
    "kernels": {"kernels", "errors"},
    "blocks": WORDS | {"kernels", "blocks"},
    "ops": WORDS | {"kernels", "blocks", "ops"},
    "io": WORDS | {"kernels", "blocks", "io"},
}
BELOW_ALL = "_version"  # one string, which history writes and the build reads
MAY_IMPORT_TESTING = {"testing", "cli", "demo"}
NOT_IN_KERNELS = {"xarray", "dask", "zarr", "tifffile"}
GPU = {"cupy", "cupyx"}


class Import(NamedTuple):
    line: int
    target: str
    in_function: bool


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def group(module: str) -> str:
    """First name below the package; the package itself is ``__init__``."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imports(path: str, source: str, modules: set[str]) -> Iterator[Import]:
    """Every import in one file, with absolute targets."""
    here = module_name(path).split(".")
    package = here if path.endswith("/__init__.py") else here[:-1]

    def targets(node: ast.AST) -> list[str]:
        match node:
            case ast.Import(names=names):
                return [alias.name for alias in names]
            case ast.ImportFrom(module=name, names=names, level=level):
                base = package[: len(package) - level + 1] if level else []
                origin = ".".join([*base, *([name] if name else [])])
                # `from calscipy import errors` means that module, any other name the package itself
                inner = [f"{origin}.{alias.name}" for alias in names]
                return [full if full in modules else origin for full in inner]
            case ast.Call(func=func, args=[ast.Constant(value=str(name)), *_]):
                called = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
                return [name] if called in {"import_module", "__import__"} else []
        return []

    def walk(node: ast.AST, in_function: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            for target in targets(child):
                yield Import(child.lineno, target, in_function)
            is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(child, in_function or is_function)

    yield from walk(ast.parse(source), in_function=False)


def wrong(importer: str, found: Import) -> str | None:
    """Why this import is not allowed in a module of group ``importer``, or None."""
    top = found.target.split(".")[0]
    if top == PACKAGE:
        imported = group(found.target)
        if imported == BELOW_ALL:
            return None
        if imported == "testing" and importer not in MAY_IMPORT_TESTING:
            return "only cli and demo may import testing"
        if imported not in MAY_IMPORT.get(importer, {imported}):
            return f"{importer} may not import {imported}"
    elif top in GPU:
        if importer != "blocks":
            return "only blocks may import CuPy"
        if not found.in_function:
            return "CuPy is imported inside functions"
    elif importer == "kernels" and top in NOT_IN_KERNELS:
        return "kernels take and return plain arrays"
    return None


def violations(sources: Mapping[str, str]) -> list[str]:
    """Arrows that point up, given the source text of each file by its path."""
    modules = {module_name(path) for path in sources}
    found = []
    for path, source in sources.items():
        importer = group(module_name(path))
        for item in sorted(set(imports(path, source, modules))):
            if reason := wrong(importer, item):
                found.append(f"{path}:{item.line}: imports {item.target}: {reason}")
    return found


def library() -> dict[str, str]:
    return {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted((ROOT / PACKAGE).rglob("*.py"))
    }


def test_imports_of_the_library_point_down():
    sources = library()
    assert sources, f"no modules found under {ROOT / PACKAGE}"
    assert violations(sources) == []


def test_a_violation_seeded_in_the_library_is_found():
    sources = library()
    sources["calscipy/kernels/seeded.py"] = "def f():\n    from ..ops import seeded\n"
    sources["calscipy/ops/seeded.py"] = ""
    (message,) = violations(sources)
    assert message == (
        "calscipy/kernels/seeded.py:2: imports calscipy.ops.seeded: kernels may not import ops"
    )


EXAMPLE = {
    "calscipy/__init__.py": "from calscipy.session import ImagingSession\nfrom . import ops\n",
    "calscipy/_version.py": "",
    "calscipy/errors.py": "from ._version import __version__\n",
    "calscipy/model.py": "import xarray as xr\nfrom calscipy import errors\n",
    "calscipy/options.py": "from .errors import ArgumentError\n",
    "calscipy/history.py": "from calscipy import options\n",
    "calscipy/kernels/__init__.py": "from .filters import gaussian\n",
    "calscipy/kernels/filters.py": "import numpy\nimport scipy\nfrom ..errors import E\n",
    "calscipy/blocks.py": "import dask\nfrom . import kernels\ndef f():\n    import cupy\n",
    "calscipy/ops/__init__.py": "from .filters import gaussian\n",
    "calscipy/ops/filters.py": "from .. import blocks, model\nfrom ..kernels import filters\n",
    "calscipy/io/__init__.py": "",
    "calscipy/io/tiff.py": "import tifffile\nfrom calscipy.blocks import f\nfrom . import x\n",
    "calscipy/accessors.py": "from calscipy import io, ops\n",
    "calscipy/session.py": "import calscipy.accessors\n",
    "calscipy/testing.py": "from calscipy import session\n",
    "calscipy/cli.py": "def demo():\n    from . import testing\n",
}


def test_an_example_that_keeps_the_rules_passes():
    assert violations(EXAMPLE) == []


@pytest.mark.parametrize(
    ("path", "line", "reason"),
    [
        ("calscipy/errors.py", "import calscipy.kernels.filters", "errors may not import kernels"),
        ("calscipy/model.py", "from calscipy import ops", "model may not import ops"),
        ("calscipy/model.py", "from . import ImagingSession", "model may not import __init__"),
        ("calscipy/kernels/filters.py", "from ..model import TIME", "kernels may not import model"),
        ("calscipy/kernels/filters.py", "from .. import blocks", "kernels may not import blocks"),
        ("calscipy/kernels/__init__.py", "from .. import options", "may not import options"),
        ("calscipy/kernels/filters.py", "import dask.array as da", "plain arrays"),
        ("calscipy/kernels/filters.py", "from xarray import DataArray", "plain arrays"),
        ("calscipy/kernels/filters.py", "import cupyx.scipy.ndimage", "only blocks"),
        ("calscipy/blocks.py", "from .ops import filters", "blocks may not import ops"),
        ("calscipy/blocks.py", "import cupy", "inside functions"),
        ("calscipy/ops/filters.py", "from ..io import tiff", "ops may not import io"),
        ("calscipy/ops/filters.py", "from calscipy.session import S", "ops may not import session"),
        ("calscipy/ops/filters.py", "def f():\n    import cupy", "only blocks"),
        ("calscipy/io/tiff.py", "from calscipy import ops", "io may not import ops"),
        ("calscipy/io/tiff.py", "from .. import accessors", "io may not import accessors"),
        ("calscipy/io/tiff.py", "import_module('calscipy.ops.filters')", "io may not import ops"),
        ("calscipy/io/tiff.py", "import_module('cupy')", "only blocks"),
        ("calscipy/session.py", "from calscipy import testing", "only cli and demo"),
        ("calscipy/__init__.py", "def f():\n    from .testing import g", "only cli and demo"),
    ],
)
def test_an_arrow_that_points_up_is_found(path, line, reason):
    (message,) = violations({**EXAMPLE, path: line + "\n"})
    assert reason in message


def run_python(code: str) -> str:
    command = [sys.executable, "-c", textwrap.dedent(code)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_import_is_light():
    # zarr imports CuPy by itself wherever it is installed, so what xarray, dask and zarr bring is
    # not counted as ours.
    late = "sklearn matplotlib hvplot holoviews panel pynwb cupy numba"
    found = run_python(f"""
        import sys
        import dask.array, xarray, zarr
        theirs = set(sys.modules)
        import calscipy
        print(*sorted((set(sys.modules) - theirs) & set({late.split()})))
    """)
    assert found == "", f"`import calscipy` imports {found}; do that in the functions that need it"


def test_import_works_without_cupy():
    run_python("""
        import sys
        sys.modules["cupy"] = sys.modules["cupyx"] = None  # importing them now raises
        import calscipy
    """)
