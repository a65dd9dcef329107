"""Voltage outputs: parameters, and waveforms against a slow reference and facts read by eye."""

from pathlib import Path

import dask
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.errors import (
    ArgumentError,
    CalscipyWarning,
    DamagedRecordingWarning,
    RecordingError,
)
from calscipy.io.prairieview.voltage_output import (
    FixedVoltage,
    PulseTrain,
    read_voltage_output,
    read_voltage_outputs,
)
from calscipy.io.prairieview.voltage_waveforms import synthesize
from calscipy.testing._voltage import write_voltage_output

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "prairieview"
FOLDER = SAMPLES / "calscipy" / "reg1_x300_y009n_z1425t1530_p110t131_APr_VSleft-007"
REAL = FOLDER / f"{FOLDER.name}_Cycle00001_VoltageOutput_001.xml"
real = pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/data/prairieview")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


def train(**changes):
    fields = {
        "Name": "p",
        "PulseCount": 1,
        "PulseWidth": 1,
        "PulseSpacing": 1,
        "PulsePotentialStart": 5,
        "PulsePotentialDelta": 0,
        "RestPotential": 0,
        "FirstPulseDelay": 0,
        "Repetitions": 1,
        "DelayBetweenReps": 0,
    }
    return "PulseTrain", fields | changes


def fixed(potential, hold, end=None):
    return "FixedVoltage", {
        "Name": "f",
        "Potential": potential,
        "HoldTime": hold,
        "ChangeAtEnd": str(end is not None).lower(),
        "EndingPotential": 0 if end is None else end,
    }


def written(tmp_path, waveforms, **options):
    path = tmp_path / "mouse1_Cycle00001_VoltageOutput_001.xml"
    write_voltage_output(path, waveforms, **options)
    return path


def slow(components, rate):
    """Play components sample by sample, as the format report says it."""
    samples = []

    def emit(value, until):
        while len(samples) < round(until / 1000 * rate):
            samples.append(value)

    now = 0.0
    for kind, f in components:
        if kind == "FixedVoltage":
            now += f["HoldTime"]
            emit(f["Potential"], now)
            continue
        now += f["FirstPulseDelay"]
        emit(f["RestPotential"], now)
        for r in range(f["Repetitions"]):
            for k in range(f["PulseCount"]):
                now += f["PulseWidth"]
                emit(f["PulsePotentialStart"] + k * f["PulsePotentialDelta"], now)
                if k < f["PulseCount"] - 1:
                    now += f["PulseSpacing"]
                    emit(f["RestPotential"], now)
            if r < f["Repetitions"] - 1:
                now += f["DelayBetweenReps"]
                emit(f["RestPotential"], now)
    return samples


times = st.sampled_from([0, 0.1, 0.7, 1, 2.5, 10])
potentials = st.sampled_from([-5, 0, 0.25, 3])
trains = st.builds(
    train,
    PulseCount=st.integers(0, 4),
    PulseWidth=times,
    PulseSpacing=times,
    PulsePotentialStart=potentials,
    PulsePotentialDelta=potentials,
    RestPotential=potentials,
    FirstPulseDelay=times,
    Repetitions=st.integers(0, 3),
    DelayBetweenReps=times,
)
parts = st.lists(trains | st.builds(fixed, potentials, times), min_size=1, max_size=3)


@settings(deadline=None, derandomize=True, max_examples=60)
@given(components=parts, rate=st.sampled_from([1000, 3333.3, 10_000]))
def test_waveforms_are_those_of_a_slow_player(tmp_path_factory, components, rate):
    path = written(tmp_path_factory.mktemp("output"), {"a": components}, rate=rate)
    expected = slow(components, rate)
    if not expected:
        with pytest.raises(ArgumentError, match="0 samples"):
            synthesize(read_voltage_output(path))
        return
    found = synthesize(read_voltage_output(path))
    assert found.values.tolist() == [expected]


def test_theta_bursts(tmp_path):
    """Bursts of 3 pulses of 2 ms at 50 Hz, 5 times a second: 158 ms after the last pulse."""
    burst = train(PulseCount=3, PulseWidth=2, PulseSpacing=18, Repetitions=4, DelayBetweenReps=158)
    data = synthesize(read_voltage_output(written(tmp_path, {"LED": [burst]})))
    onsets = np.flatnonzero(np.diff(data.values[0], prepend=0.0) > 0) / 10_000
    np.testing.assert_allclose(onsets, np.add.outer(np.arange(4) * 0.2, [0, 0.02, 0.04]).ravel())


def test_waveforms_end_where_they_are(tmp_path):
    path = written(
        tmp_path,
        {"rest": [train(RestPotential=1)], "end": [fixed(2, 1, end=3)], "stay": [fixed(4, 1)]},
        rate=1000,
    )
    data = synthesize(read_voltage_output(path), 0.003, start=10)
    assert data.values.tolist() == [[5, 1, 1], [2, 3, 3], [4, 4, 4]]
    np.testing.assert_allclose(data.time, [10, 10.001, 10.002])
    assert data.attrs["units"] == "V"


def test_user_units_and_disabled_waveforms(tmp_path):
    path = written(
        tmp_path,
        {"clamp": [fixed(5, 2)], "off": [fixed(1, 1)], "nothing": []},
        rate=1000,
        disabled=["off"],
        units={"clamp": ("pA", 400)},
    )
    experiment = read_voltage_output(path)
    assert [waveform.enabled for waveform in experiment.waveforms] == [True, False, True]
    data = synthesize(experiment, units="user")
    assert data.signal.values.tolist() == ["clamp", "off"]
    assert data.enabled.values.tolist() == [True, False]
    assert data.units.values.tolist() == ["pA", "V"]
    assert data.sel(signal="clamp").values.tolist() == [2000, 2000]
    assert synthesize(experiment).sel(signal="clamp").values.tolist() == [5, 5]


def test_unknown_components_are_said_and_kept(tmp_path):
    ramp = ("Ramp", {"StartVoltage": 1, "Duration": 2})
    path = written(tmp_path, {"a": [fixed(1, 2), ramp, fixed(1, 2)], "b": [fixed(3, 4)]}, rate=1000)
    with pytest.warns(CalscipyWarning, match="Ramp") as caught:
        experiment = read_voltage_output(path)
    assert len(caught) == 1
    assert experiment.unknown == ["Ramp"]
    assert experiment.waveforms[0].components[1].fields == {"StartVoltage": "1", "Duration": "2"}
    data = synthesize(experiment)
    np.testing.assert_array_equal(data, [[1, 1, np.nan, np.nan], [3, 3, 3, 3]])


def test_it_is_lazy_and_bounded(tmp_path):
    path = written(tmp_path, {"a": [train(FirstPulseDelay=4e6, PulseWidth=1000)]}, rate=1000)
    data = synthesize(read_voltage_output(path))
    assert data.chunks is not None
    assert data.sizes["time"] == 4_001_000
    assert data[0, [3_999_999, 4_000_000]].values.tolist() == [0, 5]
    for much in ({"PulseCount": 10**12}, {"Repetitions": 10**9}, {"PulseWidth": 1e12}):
        path = written(tmp_path, {"a": [train(**much)]})
        with pytest.raises(ArgumentError, match=r"over 1000000 pulses|can be made"):
            synthesize(read_voltage_output(path))


@pytest.mark.parametrize("duration", [-1, np.nan, np.inf, 0])
def test_durations_are_checked(tmp_path, duration):
    experiment = read_voltage_output(written(tmp_path, {"a": [fixed(1, 1)]}))
    with pytest.raises(ArgumentError, match=r"duration|samples"):
        synthesize(experiment, duration)


def test_nothing_to_play_is_an_error(tmp_path):
    with pytest.raises(ArgumentError, match="no waveform"):
        synthesize(read_voltage_output(written(tmp_path, {"a": []})))
    experiment = read_voltage_output(written(tmp_path, {"a": [fixed(1, 1)]}))
    with pytest.raises(ArgumentError, match="units must be"):
        synthesize(experiment, units="mV")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<UpdateRate>10000<", "<UpdateRate>0<", "UpdateRate"),
        ("<PulseWidth>1<", "<PulseWidth>-1<", "from 0 on"),
        ("<PulseCount>1<", "<PulseCount>∞<", "finite number"),
        ("<PulseWidth>1<", "<PulseWidth>wide<", "a number was expected"),
        ("<Experiment>", "<!DOCTYPE a><Experiment>", "document type"),
    ],
)
def test_damaged_files_are_named(tmp_path, old, new, words):
    path = written(tmp_path, {"a": [train()]})
    path.write_text(path.read_text("utf-8").replace(old, new), "utf-8")
    with pytest.raises(RecordingError, match=words):
        read_voltage_output(path)
    links = [(1, {"filename": path.name}), (2, {"filename": "none.xml"})]
    with pytest.warns(DamagedRecordingWarning) as caught:
        assert read_voltage_outputs(tmp_path, links) == []
    assert len(caught) == 2


def test_outputs_of_a_scan_are_plain_values(tmp_path):
    path = written(tmp_path, {"a": [train()]})
    attributes = {"name": "LED", "filename": path.name, "absoluteTime": "1.5"}
    (found,) = read_voltage_outputs(tmp_path, [(3, attributes)], zero=0.5)
    assert (found["name"], found["cycle"], found["start"]) == ("LED", 3, 1.0)
    pulses = found["settings"]["Waveform"]["WaveformComponent_PulseTrain"]
    assert pulses["PulsePotentialStart"] == "5"


@real
def test_the_real_file():
    """Read by eye: 4 pulses of 100 ms, 1 s apart, after 600 s, 5 times with 90 s between."""
    experiment = read_voltage_output(REAL)
    assert (experiment.name, experiment.rate) == ("PicoSpritzer", 10_000)
    assert [waveform.name for waveform in experiment.waveforms][-3:] == [
        "Uncaging X Galvo",
        "Uncaging",
        "Uncaging Y Galvo",
    ]
    assert [waveform.enabled for waveform in experiment.waveforms] == [True] + [False] * 7
    (pulses,), (hold,) = (waveform.components for waveform in experiment.waveforms[:2])
    assert pulses == PulseTrain("Waveform Component #1", 4, 100, 1000, 5, 0, 0, 600_000, 5, 90_000)
    assert hold == FixedVoltage("Waveform Component #1", 2, 1, False, 0)
    data = synthesize(experiment)
    # 600 s, five trains of 3.4 s and four pauses of 90 s.
    assert data.sizes == {"signal": 2, "time": 9_770_000}
    played = data.sel(signal="Voltage Output 0").drop_indexes("time")
    for begin in (600.0, 601.1, 602.2, 603.3, 693.4, 973.6 + 3.3):
        around = played.isel(time=np.rint([begin * 1e4 - 1, begin * 1e4]).astype(int))
        assert around.values.tolist() == [0, 5], begin
    assert int((played == 5).sum()) == 20 * 1000
