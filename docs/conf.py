import os
import shutil
import sys
from pathlib import Path

import calscipy
from calscipy import accessors

HERE = Path(__file__).parent
NOTEBOOKS, REFERENCE = HERE / "notebooks", HERE / "reference" / "methods.md"

project = "calscipy"
author = "The calscipy developers"
copyright = f"2026, {author}"
release = calscipy.__version__

extensions = [
    "myst_nb",  # Markdown pages and notebooks
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
]
exclude_patterns = ["_build", "_examples"]
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["custom.css"]

html_theme = "pydata_sphinx_theme"
html_title = "calscipy"
html_theme_options = {
    "show_nav_level": 1,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
}

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# Every block of code runs when the pages are built, in an empty folder; an error ends the build.
# docs/_examples holds the recordings that they open.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
os.environ["PYTHONPATH"] = os.pathsep.join([str(HERE / "_examples"), str(HERE.parent)])
nb_execution_mode = "cache"
nb_execution_in_temp = True
nb_execution_timeout = 240
if tags.has("pages"):  # noqa: F821 - Sphinx puts it there; tests/test_notebooks.py runs the notebooks
    nb_execution_excludepatterns = ["notebooks/*"]
nb_execution_raise_on_error = True
nb_merge_streams = True
suppress_warnings = ["mystnb.unknown_mime_type"]  # what bokeh shows beside its HTML

# The reference lists calscipy.__all__, so that it cannot fall behind.
autosummary_generate = True
autosummary_ignore_module_all = False
autosummary_imported_members = True
autodoc_typehints = "none"  # numpydoc sections name the types
numpydoc_show_class_members = False


def copy_notebooks(app):
    """Put the notebooks of the repository beside the pages."""
    shutil.rmtree(NOTEBOOKS, ignore_errors=True)
    NOTEBOOKS.mkdir()
    for notebook in sorted((HERE.parent / "notebooks").glob("*.ipynb")):
        shutil.copy(notebook, NOTEBOOKS)


def write_methods(app):
    """List the methods of `.cs` by the kind of array, from the classes that offer them."""
    lines = ["# Methods of `.cs`", "", "What `.cs` offers depends on the dimensions of an array."]
    for kind, methods in accessors.KINDS.items():
        lines += ["", f"## {accessors.NAMES[kind][0].upper()}{accessors.NAMES[kind][1:]}", ""]
        lines += ["| method | |", "|---|---|"]
        for name in sorted(name for name in dir(methods) if not name.startswith("_")):
            method = getattr(methods, name)
            first = " ".join((method.__doc__ or "").strip().split("\n\n")[0].split())
            link = f"{{func}}`{name} <calscipy.{name}>`" if hasattr(calscipy, name) else f"`{name}`"
            lines.append(f"| {link} | {first} |")
    REFERENCE.parent.mkdir(exist_ok=True)
    REFERENCE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def setup(app):
    app.connect("builder-inited", copy_notebooks)
    app.connect("builder-inited", write_methods, priority=400)  # before autosummary looks for pages
