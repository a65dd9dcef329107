"""What interactive figures have in common: shown in a notebook, served, or saved as a page."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, NamedTuple

from calscipy.errors import ArgumentError
from calscipy.io.output import require_free
from calscipy.io.paths import local_path
from calscipy.plotting.interactive.pages import PAGE_BYTES, page_html, require_package, serve_page


class Built(NamedTuple):
    """Models of one page or session.

    Attributes
    ----------
    layout : bokeh.models.LayoutDOM
        Everything that is shown.
    keys : bokeh.models.CustomJS
        Listens to the keyboard.
    """

    layout: Any
    keys: Any


class View(ABC):
    """An interactive figure.

    A notebook shows it when it is the last line of a cell; Python then answers as long as the
    kernel runs. :meth:`serve` does the same in a browser, without a notebook. :meth:`save_html`
    writes a page that needs neither Python nor a network.
    """

    def __init__(self, title: str) -> None:
        require_package("bokeh")
        self.title = title

    @abstractmethod
    def _build(self, *, live: bool, **options: Any) -> Built:
        """Make the models anew: those of Bokeh belong to one document."""

    def html(self) -> str:
        """Return the page that :meth:`save_html` writes."""
        return self._page()

    def _page(self, **options: Any) -> str:
        built = self._build(live=False, **options)
        return page_html(built.layout, self.title, built.keys)

    def save_html(self, path: str | os.PathLike[str]) -> Path:
        """Write a page that holds its data and works without Python and without a network.

        What does not fit into a page of 10 MB is left out, and the page says what that is.

        Parameters
        ----------
        path : path
            The page, a new file that ends in ``.html``.

        Returns
        -------
        Path
            The page.

        Raises
        ------
        TargetExistsError
            If there is anything at ``path``.
        """
        return self._save(path)

    def _save(self, path: str | os.PathLike[str], **options: Any) -> Path:
        target = local_path(path)
        if target.suffix.lower() not in (".html", ".htm"):
            raise ArgumentError(f"{target}: pages are HTML; give a name ending in .html.")
        require_free(target)
        page = self._page(**options).encode()
        if len(page) > PAGE_BYTES:
            raise ArgumentError(
                f"the page would have {len(page) / 1e6:.3g} MB, more than {PAGE_BYTES / 1e6:g}. "
                "Show less at once: fewer neurons, conditions, frames or ROIs."
            )
        require_free(target)
        with target.open("xb") as stream:
            stream.write(page)
        return target

    def serve(self, *, port: int = 0, open_browser: bool = False) -> Server:
        """Answer a browser on this machine, without a notebook.

        Parameters
        ----------
        port : int, default 0
            Port on this machine; a free one by default.
        open_browser : bool, default False
            Show it in the browser.

        Returns
        -------
        Server
            Its ``url``; ``stop()`` ends it. It answers in a thread and ends with the program.
        """
        return Server(self, port, open_browser)

    def panel(self) -> Any:
        """Return it as an object of Panel, for notebooks and dashboards."""
        panel = require_package("panel")
        return panel.pane.Bokeh(self._build(live=True).layout, sizing_mode="stretch_width")

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        if not _in_notebook():
            return {"text/plain": repr(self)}
        panel = require_package("panel")
        if not panel.extension._loaded:
            panel.extension(inline=True)  # all that the browser needs comes along: no network
        return self.panel()._repr_mimebundle_(include, exclude)

    def __repr__(self) -> str:
        ways = "show it in a notebook, serve() it or save_html(path)"
        return f"<{type(self).__name__} of {self.title}: {ways}>"


def _in_notebook() -> bool:
    """Whether cells are shown by something that draws HTML, not by a terminal."""
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


class Server:
    """A view that a browser on this machine can open.

    Parameters
    ----------
    view : View
        What it shows.
    port : int
        Port, 0 for a free one.
    open_browser : bool
        Whether to open a browser.
    """

    def __init__(self, view: View, port: int, open_browser: bool) -> None:
        self._view = view
        self._ready = threading.Event()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(
            target=self._run, args=(port,), name="calscipy view", daemon=True
        )
        self._thread.start()
        self._ready.wait()
        if self._problem is not None:
            raise self._problem
        #: Address for the browser.
        self.url = f"http://127.0.0.1:{self._server.port}/"
        if open_browser:
            import webbrowser

            webbrowser.open(self.url)

    def _run(self, port: int) -> None:
        import asyncio

        try:
            from bokeh.server.server import Server as BokehServer

            asyncio.set_event_loop(asyncio.new_event_loop())
            # Bound to this machine alone, whatever its network can see.
            self._server = BokehServer({"/": self._document}, port=port, address="127.0.0.1",
                                       allow_websocket_origin=None)  # fmt: skip
            self._server.start()
        except BaseException as problem:
            self._problem = problem
            self._ready.set()
            return
        self._ready.set()
        self._server.io_loop.start()
        self._server.io_loop.close()

    def _document(self, document: Any) -> None:
        built = self._view._build(live=True)
        serve_page(document, built.layout, self._view.title, built.keys)

    def stop(self) -> None:
        """End it."""
        if self._thread.is_alive():
            loop = self._server.io_loop

            def end() -> None:
                self._server.stop()
                loop.stop()

            loop.add_callback(end)
            self._thread.join(10)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *problem: object) -> None:
        self.stop()
