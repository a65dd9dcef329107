"""The documentation builds without a warning, which runs every block of code on its pages."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NEEDED = ("sphinx", "myst_nb", "numpydoc", "pydata_sphinx_theme", "bokeh", "panel")
missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
PAGES = sorted(path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md"))


@pytest.mark.skipif(bool(missing), reason=f"needs the extras docs and plot: no {missing}")
@pytest.mark.timeout(1200)
def test_the_documentation_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    command += [
        "-D",
        f"nb_execution_cache_path={tmp_path / 'cache'}",
        "-d",
        str(tmp_path / "trees"),
    ]
    command += ["-t", "pages"]  # tests/test_notebooks.py runs the notebooks
    command += ["docs", str(tmp_path / "html")]
    environment = os.environ | {"PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=1100
    )
    assert done.returncode == 0, done.stderr[-6000:]
    built = {path.relative_to(tmp_path / "html") for path in (tmp_path / "html").rglob("*.html")}
    hidden = [page for page in PAGES if page.parts[0] != "_build"]
    assert not {page.with_suffix(".html") for page in hidden} - built
    methods = (tmp_path / "html" / "reference" / "methods.html").read_text(encoding="utf-8")
    for verb in ("gaussian_filter", "dfof", "events", "to_trials", "extract"):
        assert f"calscipy.{verb}.html" in methods, f"{verb} has no link in the table of methods"


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_no_page_holds_code_that_does_not_run(page):
    """Sphinx runs the blocks ``{code-cell}``; a block ``python`` would only be shown."""
    assert "```python" not in (ROOT / "docs" / page).read_text(encoding="utf-8")


def test_the_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert (tmp_path / "m12.zarr").is_dir()
    assert names["neuropil"].shape == names["traces"].shape
