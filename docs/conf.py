import os
import re
import shutil
import sys
from pathlib import Path

from sphinx.errors import ExtensionError

import calscipy
from calscipy import accessors, plotting
from calscipy.plotting import interactive

HERE = Path(__file__).parent
NOTEBOOKS, REFERENCE = HERE / "notebooks", HERE / "reference" / "methods.md"
FUNCTIONS = HERE / "reference" / "functions.md"

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
exclude_patterns = ["_build"]
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
# A folded cell at the top of a page makes the recording that the page opens.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
os.environ["PYTHONPATH"] = str(HERE.parent)
nb_execution_mode = "cache"
nb_execution_in_temp = True
nb_execution_timeout = 240
if tags.has("pages"):  # noqa: F821 - Sphinx puts it there; tests/test_notebooks.py runs the notebooks
    nb_execution_excludepatterns = ["notebooks/*"]
nb_execution_raise_on_error = True
nb_merge_streams = True
nb_code_prompt_show = "To run this page: the cell that makes what it works on"
nb_code_prompt_hide = "Fold this cell"
suppress_warnings = ["mystnb.unknown_mime_type"]  # what bokeh shows beside its HTML

autosummary_generate = True
autosummary_ignore_module_all = False
autosummary_imported_members = True
toc_object_entries_show_parents = "hide"
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
            first = re.sub(r" *\[[0-9]+\]_", "", first)  # its page has the references
            lines.append(f"| {{func}}`{name} <{public_name(method)}>` | {first} |")
    REFERENCE.parent.mkdir(exist_ok=True)
    REFERENCE.write_text("\n".join(lines) + "\n", encoding="utf-8")


def public_name(method):
    """Return the name of the function behind a method of `.cs`, as users import it."""
    name = method.__wrapped__.__name__
    for module in (calscipy, plotting, interactive):
        if name in module.__all__:
            return f"{module.__name__}.{name}"
    raise ExtensionError(f".cs.{method.__name__} has no public function in the reference")


def check_functions(app):
    """Raise unless the list of functions, which is sorted by task, names every public one."""
    listed = set(re.findall(r"^   (calscipy[\w.]*)$", FUNCTIONS.read_text("utf-8"), re.MULTILINE))
    public = {
        f"{module.__name__}.{name}"
        for module in (calscipy, plotting, interactive)
        for name in module.__all__
        if not name.startswith("_")
    }
    # the same as calscipy.preview, and a module whose functions are all listed
    public -= {"calscipy.plotting.preview", "calscipy.plotting"}
    if missing := sorted(public - listed):
        raise ExtensionError(f"docs/reference/functions.md does not list {', '.join(missing)}")


def setup(app):
    app.connect("builder-inited", check_functions)
    app.connect("builder-inited", copy_notebooks)
    app.connect("builder-inited", write_methods, priority=400)  # before autosummary looks for pages
