"""What all interactive pages share: their texts, their scripts, and how they become HTML."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable
from importlib.resources import files
from typing import Any

from calscipy.io.optional import optional

DATA_BYTES = 5_500_000  # in a page, before they become text a third longer
PAGE_BYTES = 10_000_000  # larger pages are refused
INK, GREY = "#222222", "#666666"
WIDEST = 2000  # columns of pixels that a screen is taken to have

_COMPONENTS = ("bokeh", "bokeh-widgets")
_PAGE = """{% from macros import embed %}<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{{ title | e }}</title>{{ scripts }}</head>
<body>
{% for doc in docs %}{% for root in doc.roots %}{{ embed(root) }}{% endfor %}{% endfor %}
{{ plot_script }}
</body>
</html>
"""

_TEX = re.compile(r"\$(?=\$)|\\(?=[()\[\]])")
_BREAK = "\u2060"  # has no width and joins what it stands between


def require_package(name: str) -> Any:
    """Import a package that interactive figures need.

    Raises
    ------
    MissingPackageError
        With the command that installs it.
    """
    return optional(name, extra="plot", purpose="interactive figures")


def plain(text: object) -> str:
    r"""Return a text that Bokeh draws as it is, not as a formula.

    Examples
    --------
    >>> plain("a\nb"), len(plain("$$x$$")) - len("$$x$$")
    ('a b', 2)
    """
    shown = "".join(
        " " if unicodedata.category(letter)[0] == "C" and letter != _BREAK else letter
        for letter in str(text)
    )
    return _TEX.sub(lambda found: found[0] + _BREAK, shown)


def heading(title: str, notes: Iterable[str] = ()) -> Any:
    """Return a title with lines of notes below it; their text is escaped."""
    from bokeh.models import Div

    lines = [f"<strong style='font-size:15px'>{escaped(title)}</strong>"] if title else []
    lines += [f"<span style='color:{GREY}'>{escaped(note)}</span>" for note in notes]
    return Div(text="<br>".join(lines), sizing_mode="stretch_width", styles={"line-height": "1.45"})


def escaped(text: object) -> str:
    """Return a text as HTML that shows it as it is."""
    return html.escape(plain(text))


def script(name: str, /, **args: Any) -> Any:
    """Return a script of this package as a callback of Bokeh.

    Parameters
    ----------
    name : str
        The file in ``js``, without its ending.
    **args
        What the script may use, by name.
    """
    from bokeh.models import CustomJS

    folder = files("calscipy.plotting.interactive") / "js"
    code = "\n".join(
        (folder / f"{part}.js").read_text(encoding="utf-8") for part in ("common", name)
    )
    return CustomJS(args=args, code=code)


def page_html(layout: Any, title: str, keys: Any) -> str:
    """Return a page that holds a layout and all that it needs: it asks nothing of a network.

    Parameters
    ----------
    layout : bokeh.models.LayoutDOM
        What the page shows.
    title : str
        Title of the window.
    keys : bokeh.models.CustomJS
        Run when the page is ready; listens to the keyboard.
    """
    from bokeh.document import Document
    from bokeh.embed import file_html
    from bokeh.resources import CDN, Resources

    document = Document()
    document.add_root(layout)
    document.js_on_event("document_ready", keys)
    code = Resources(mode="inline", components=list(_COMPONENTS)).js_raw
    scripts = "".join(f"<script>{part}</script>" for part in code)
    return str(
        file_html(
            document,
            CDN,  # which the template does not use
            title=plain(title),
            template=template(),
            template_variables={"scripts": scripts},
        )
    )


def serve_page(document: Any, layout: Any, title: str, keys: Any) -> None:
    """Put a layout into the document of a session of Bokeh's server; see :func:`page_html`."""
    document.title = plain(title)
    document.template = template()
    document.template_variables["scripts"] = "".join(
        f"<script src='static/js/{name}.min.js'></script>" for name in _COMPONENTS
    )
    document.add_root(layout)
    document.js_on_event("document_ready", keys)


def template() -> Any:
    """Return the template of pages.

    Bokeh's own loads the scripts of every package that brings models and happens to be imported,
    such as panel, some of them from the network.
    """
    from bokeh.core.templates import get_env

    return get_env().from_string(_PAGE)
