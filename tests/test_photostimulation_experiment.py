"""A photostimulation experiment from the choice of cells to the cells that answered, in files."""

from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.photostimulation import (
    GalvoCalibration,
    Protocol,
    Step,
    build_protocol,
    read_galvo_points,
    read_mark_points,
    write_mark_points,
)
from calscipy.testing import write_recording

SHAPE, RATE, UM = (64, 80), 30.0, 0.8
CHOSEN, ANSWERING, LATENCY = [2, 3, 5, 8, 11, 12], {3, 5, 12}, 0.02
RECORDING = {
    "shape": SHAPE,
    "neurons": 12,
    "seed": 5,
    "frame_rate": RATE,
    "microns_per_pixel": UM,
    "decay": 0.3,
    "burst_rate": 0.05,
    "bleaching": 0.1,
}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    with dask.config.set(scheduler="sync"):
        yield


def rois_of_the_first_recording(folder: Path) -> xr.DataArray:
    """Find the cells in a recording made before the experiment."""
    truth = write_recording(folder, frames=30, **RECORDING)
    session = cs.ImagingSession.open(folder)
    rois = cs.rois_from_labels(truth.labels.values)
    assert session.movie.cs.project(reduce="mean").shape == SHAPE
    return rois


def protocol_for(rois: xr.DataArray) -> Protocol:
    corners = np.array([(0, 0), (SHAPE[1], 0), (0, SHAPE[0])])
    rig = GalvoCalibration.fit(
        corners,
        corners * [0.1, -0.1] + [-4, 3.2],
        x_range=(-5, 5),
        y_range=(5, -5),
        image_shape=SHAPE,
        microns_per_pixel=UM,
    )
    steps = [
        Step(targets=n, repetitions=5, interval=2.48, initial_delay=2 * (n == CHOSEN[0]))
        for n in CHOSEN
    ]
    return build_protocol(
        rois,
        steps,
        neurons=CHOSEN,
        calibration=rig,
        spiral_um=6,
        laser="Uncaging",
        power=20,
        max_power=50,
        duration=0.02,
    )


def play(protocol: Protocol, folder: Path) -> None:
    """Write what the microscope would: a recording whose cells answer, and its mark points."""
    planned = protocol.stimuli()
    bursts = {
        neuron: (planned.onset.values[planned.target_label.values == neuron] + LATENCY).tolist()
        for neuron in ANSWERING
    }
    frames = int(RATE * (float(planned.onset.max()) + 4))
    write_recording(folder, frames=frames, bursts=bursts, **RECORDING)
    marks = []
    for mark in protocol.series.marks:
        (visit,) = mark.points
        targets = [protocol.spirals()[at].to_point(SHAPE, index=at) for at in visit.indices]
        marks.append(mark.replace(points=[visit.replace(targets=targets)]))
    name = f"{folder.name}_Cycle00001_MarkPoints.xml"
    write_mark_points(protocol.series.replace(marks=marks, saved=False), folder / name)
    xml = folder / f"{folder.name}.xml"
    text = xml.read_text(encoding="utf-8-sig")
    at = text.index("<Frame")
    link = f'<MarkPoints filename="{name}" />'
    xml.write_text(text[:at] + link + text[at:], encoding="utf-8-sig")


def test_cells_that_answer_are_recovered_from_the_files(tmp_path):
    rois = rois_of_the_first_recording(tmp_path / "TSeries-001")
    protocol = protocol_for(rois)
    points, series = protocol.save(tmp_path / "protocol")
    assert read_galvo_points(points) == protocol.points
    assert read_mark_points(series) == protocol.series
    play(protocol, tmp_path / "TSeries-002")

    session = cs.ImagingSession.open(tmp_path / "TSeries-002")
    stimulus = protocol.label(session.stimulus)
    np.testing.assert_allclose(stimulus.onset, protocol.stimuli().onset, atol=1e-9)
    assert set(stimulus.target_label.values.tolist()) == set(CHOSEN)

    session = session.assign(traces=lambda s: s.movie.cs.extract(rois))
    lit = cs.stimulus_mask(session.traces, stimulus)
    assert 0.01 < float(lit.mean()) < 0.1
    dff = session.traces.where(~lit).cs.dfof(method="percentile", percentile=30)
    trials = dff.cs.to_trials(starts=stimulus.onset, window=(0.5, 1.0))
    change = trials - trials.sel(time=slice(-0.5, -0.05)).mean("time")
    low = change.cs.average(by="target_label", rng=0)["lower"]
    low = low.sel(time=slice(0.05, 0.4)).mean("time")

    answered = {
        (target, neuron)
        for target in low.target_label.values.tolist()
        for neuron in low.neuron.values.tolist()
        if low.sel(target_label=target, neuron=neuron) > 0.05
    }
    assert answered == {(neuron, neuron) for neuron in ANSWERING}

    picture = protocol.plot(session.movie.cs.project(reduce="mean"), title="protocol")
    drawn = {tuple(patch.center) for patch in picture.axes[0].patches}
    assert drawn == {(target.x, target.y) for target in protocol.targets}
