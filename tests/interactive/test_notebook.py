"""Views in a notebook: what a cell shows, and that Python answers through its connection."""

import nbclient
import nbformat
import numpy as np
import pytest

import calscipy as cs
from calscipy.plotting.interactive import view_movie

pytest.importorskip("panel", reason="needs the extra plot")

CELLS = (
    """
import numpy as np, calscipy as cs
from calscipy.plotting.interactive import view_movie, view_traces
values = np.arange(12.0).reshape(3, 4)
view = view_traces(cs.from_numpy(values, frame_rate=2))
""",
    "view",
    """
# What the browser does when the slider is moved: it changes the request. Python answers, and
# what it drew goes back to the browser.
from pyviz_comms import JupyterComm
sent = []
send = JupyterComm.send
def watched(self, *arguments, **more):
    sent.append((arguments, more))
    return send(self, *arguments, **more)
JupyterComm.send = watched
pane = view.panel()
display(pane)
((root, _),) = pane._models.values()
((comm, _),) = pane._comms.values()
comm.init()  # as the browser does when it has drawn the cell
request = root.select_one({"name": "request"})
before = len(sent)
root.document.hold()  # as panel does while it takes in a message of the browser
request.data = {"number": [1], "row": [2], "start": [0.0], "stop": [9.0]}
root.document.unhold()
line = root.select_one({"name": "panel 0"}).renderers[0].data_source.data
line["value"].tolist(), len(sent) > before
""",
    "view_movie(cs.from_numpy(np.zeros((3, 4, 5), 'uint16'), frame_rate=2))",
)


def test_cells_show_views_and_python_answers(tmp_path):
    cells = [nbformat.v4.new_code_cell(code) for code in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    options = {
        "timeout": 120,
        "kernel_name": "python3",
        "resources": {"metadata": {"path": tmp_path}},
    }
    nbclient.NotebookClient(notebook, **options).execute()
    _, shown, answered, movie = notebook.cells
    for cell, word in ((shown, "neuron 0"), (movie, "frame 0")):
        (result,) = (out for out in cell.outputs if out.output_type == "execute_result")
        assert word in result["data"]["text/html"]
        texts = [str(out.get("data", {})) for out in cell.outputs]
        assert not any("https://cdn" in text and "<script src" in text for text in texts)
    (result,) = (out for out in answered.outputs if out.output_type == "execute_result")
    assert result["data"]["text/plain"] == "([8.0, 9.0, 10.0, 11.0], True)"
    assert not any(out.output_type == "error" for cell in notebook.cells for out in cell.outputs)


def test_pages_hold_nothing_of_packages_that_happen_to_be_imported():
    # Panel brings models and scripts of its own, which Bokeh would put into every page.
    import panel.models.esm

    assert panel.models.esm.ReactiveESM is not None
    page = view_movie(cs.from_numpy(np.zeros((3, 8, 9), "uint16"), frame_rate=4)).html()
    assert len(page) < 2 * 10**6
    assert "panel.min.js" not in page
    assert "es-module-shims" not in page
    assert "<script src" not in page


def test_a_terminal_shows_a_line_of_text():
    view = view_movie(cs.from_numpy(np.zeros((3, 8, 9), "uint16"), frame_rate=4), title="m1")
    shown = view._repr_mimebundle_()
    assert shown == {"text/plain": repr(view)}
    assert "m1" in repr(view)
