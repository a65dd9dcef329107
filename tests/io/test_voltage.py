"""Voltage recordings: the table, its settings, several of them, and what can be wrong with them."""

import pickle
import shutil
import warnings
from pathlib import Path

import dask
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calscipy.errors import CalscipyWarning, DamagedRecordingWarning, RecordingError
from calscipy.io.prairieview import voltage, voltage_array, voltage_rows, voltage_table
from calscipy.io.prairieview.side_xml import parse_side_file, side_file
from calscipy.io.prairieview.voltage import chunk_voltage, read_voltage
from calscipy.io.prairieview.voltage_rows import read_rows
from calscipy.io.prairieview.voltage_settings import read_settings
from calscipy.io.prairieview.voltage_table import read_table
from calscipy.testing._voltage import write_voltage

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "prairieview"
REAL = SAMPLES / "calscipy" / "reg1_x300_y009n_z1425t1530_p110t131_APr_VSleft-007"
real = pytest.mark.skipif(not SAMPLES.is_dir(), reason="needs ../shared/data/prairieview")


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """Threads cost more than these small arrays."""
    with dask.config.set(scheduler="sync"):
        yield


@pytest.fixture
def small(monkeypatch):
    """Tables of some kB are long, and read in pieces of some rows."""
    monkeypatch.setattr(voltage, "LOADED_BYTES", 0)
    monkeypatch.setattr(voltage_rows, "INDEX_ROWS", 16)
    monkeypatch.setattr(voltage_array, "PIECE_ROWS", 64)
    monkeypatch.setattr(voltage_rows, "LINE_BYTES", 512)
    monkeypatch.setattr(voltage_table, "LINE_BYTES", 512)
    monkeypatch.setattr(voltage_rows, "_PASS_BYTES", 700)
    voltage_rows._find_places.cache_clear()


def link(truth):
    return truth.cycle, truth.link


def noise(count, *names, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(0, 1, count) for name in names or ("Input 0", "Input 1")}


def test_names_units_and_times_are_those_that_were_written(tmp_path):
    truth = write_voltage(
        tmp_path,
        noise(50, "LFP", "Primary"),
        rate=1000,
        start=1.5,
        units={"Primary": ("mV", 2.0, 0.5)},
        disabled=["unused"],
    )
    data = read_voltage(tmp_path, [link(truth)], zero=1.088)["voltage"]
    assert data.dims == ("signal", "time")
    assert data.signal.values.tolist() == ["LFP", "Primary"]
    assert data.units.values.tolist() == ["V", "mV"]
    assert data.input.values.tolist() == ["AI(1,0)", "AI(1,1)"]
    assert "units" not in data.attrs  # they differ, and the coordinate tells
    assert data.attrs["nominal_rate"] == 1000
    np.testing.assert_allclose(data.values, truth.values, rtol=1e-15)
    np.testing.assert_allclose(data.time.values, truth.times - 1.088, rtol=0, atol=1e-12)
    assert data.time.attrs["units"] == "s"
    assert data.cycle.item() == 1
    assert "epoch" not in data.coords


def test_one_unit_is_an_attribute(tmp_path):
    truth = write_voltage(tmp_path, noise(5), rate=1000)
    data = read_voltage(tmp_path, [link(truth)])["voltage"]
    assert data.attrs["units"] == "V"
    assert data.attrs["recordings"][0]["settings"]["Experiment"]["Rate"] == "1000"


@pytest.mark.parametrize("line_ending", ["\r\n", "\n"])
def test_long_tables_are_read_lazily_and_give_the_same(tmp_path, small, line_ending, monkeypatch):
    truth = write_voltage(tmp_path, noise(1000), rate=10_000, line_ending=line_ending)
    with monkeypatch.context() as patch:
        patch.setattr(voltage_table, "all_rows", None)  # opening reads no more than the ends
        patch.setattr(voltage_rows, "_find_places", None)
        dataset = read_voltage(tmp_path, [link(truth)], zero=0.148)
    data = dataset["voltage"]
    assert not data.variable._in_memory
    np.testing.assert_allclose(data.time, truth.times - 0.148, atol=1e-12)
    np.testing.assert_array_equal(data.isel(time=slice(777, 783)), truth.values[:, 777:783])
    np.testing.assert_array_equal(
        data.isel(time=[5, 999, 63, 64]), truth.values[:, [5, 999, 63, 64]]
    )
    np.testing.assert_array_equal(data.isel(signal=1, time=-1), truth.values[1, -1])
    np.testing.assert_array_equal(data.isel(time=slice(None, None, -7)), truth.values[:, ::-7])
    assert data.isel(time=slice(0, 0)).shape == (2, 0)
    mixed = np.arange(200).reshape(2, 100).T.ravel()  # 0, 100, 1, 101 ...
    np.testing.assert_array_equal(data.isel(time=mixed), truth.values[:, mixed])
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(data)), truth.values)
    lazy = chunk_voltage(dataset, {})["voltage"]
    assert lazy.chunks is not None
    np.testing.assert_array_equal(lazy.compute(), truth.values)
    assert chunk_voltage(dataset, None) is dataset


@settings(deadline=None, derandomize=True, max_examples=40)
@given(first=st.integers(0, 99), length=st.integers(1, 99), rows=st.integers(1, 120))
def test_any_rows_are_those_of_the_file(tmp_path_factory, first, length, rows):
    folder = tmp_path_factory.mktemp("rows")
    truth = write_voltage(folder, noise(rows), rate=1000)
    table = read_table(truth.table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voltage_rows, "INDEX_ROWS", 7)
        voltage_rows._find_places.cache_clear()
        first, last = min(first, rows - 1), min(first + length, rows)
        last = max(last, first + 1)
        np.testing.assert_array_equal(
            read_rows(table, first, last)[:, 1:].T, truth.values[:, first:last]
        )


def test_opening_does_not_depend_on_the_length(tmp_path, monkeypatch):
    """A table that is long enough not to be read is opened by two reads of 64 KiB."""
    truth = write_voltage(tmp_path, noise(30_000), rate=1000)
    reads = []
    opened = Path.open

    def counting(self, *args, **kwargs):
        stream = opened(self, *args, **kwargs)
        if self.suffix == ".csv":

            class Counting:
                def __getattr__(self, name):
                    return getattr(stream, name)

                def __enter__(self):
                    return self

                def __exit__(self, *error):
                    stream.close()

                def read(self, size=-1):
                    text = stream.read(size)
                    reads.append(len(text))
                    return text

            return Counting()
        return stream

    monkeypatch.setattr(voltage, "LOADED_BYTES", 1000)
    monkeypatch.setattr(Path, "open", counting)
    data = read_voltage(tmp_path, [link(truth)])["voltage"]
    assert data.sizes["time"] == 30_000
    assert sum(reads) < 4 * 2**16 < truth.table.stat().st_size


def test_the_position_counts_where_the_header_is_wrong(tmp_path):
    truth = write_voltage(
        tmp_path, noise(5, "Primary", "Secondary"), rate=1000, header=["Secondary", "LED"]
    )
    with pytest.warns(CalscipyWarning, match=r"\['Secondary', 'LED'\], the settings"):
        data = read_voltage(tmp_path, [link(truth)])["voltage"]
    np.testing.assert_array_equal(data.sel(signal="Primary"), truth.values[0])


def test_the_name_counts_where_the_number_of_signals_differs(tmp_path):
    truth = write_voltage(tmp_path, noise(5, "a", "b"), rate=1000, disabled=["c"])
    text = truth.settings.read_text()
    truth.settings.write_text(text.replace(">true<", ">false<", 1))  # a is off, they say
    data = read_voltage(tmp_path, [link(truth)])["voltage"]
    np.testing.assert_array_equal(data.sel(signal=["a", "b"]), truth.values)


def test_a_table_of_another_recording_is_left_out(tmp_path):
    truth = write_voltage(tmp_path, noise(5, "a", "b"), rate=1000, header=["x", "y"])
    text = truth.settings.read_text()
    truth.settings.write_text(text.replace(">true<", ">false<", 1))
    with pytest.warns(DamagedRecordingWarning, match="different recordings"):
        assert read_voltage(tmp_path, [link(truth)]) is None


def test_repeated_names_are_told_apart(tmp_path):
    truth = write_voltage(tmp_path, noise(5, "a", "b", "c"), rate=1000, names=["in", "in", "other"])
    data = read_voltage(tmp_path, [link(truth)])["voltage"]
    assert data.signal.values.tolist() == ["in", "in (2)", "other"]
    np.testing.assert_array_equal(data, truth.values)


def test_times_count_where_the_rate_is_wrong(tmp_path):
    truth = write_voltage(tmp_path, noise(100), rate=29, nominal_rate=29.9999850000075)
    with pytest.warns(CalscipyWarning, match="30 samples a second, the times in the table 29"):
        data = read_voltage(tmp_path, [link(truth)])["voltage"]
    np.testing.assert_allclose(np.diff(data.time), 1 / 29, rtol=1e-7)


def test_a_small_difference_of_the_rate_says_nothing(tmp_path):
    truth = write_voltage(tmp_path, noise(100), rate=1000, nominal_rate=1005)
    read_voltage(tmp_path, [link(truth)])


def test_cycles_follow_each_other(tmp_path, small):
    first = write_voltage(tmp_path, noise(100, "a", "b"), rate=1000, cycle=1, start=0.1)
    later = write_voltage(
        tmp_path, noise(50, "b", "c", seed=1), rate=1000, cycle=3, start=10.0, disabled=["x"]
    )
    later.settings.write_text(later.settings.read_text().replace("<Channel>0<", "<Channel>1<"))
    data = read_voltage(tmp_path, [link(later), link(first), link(first)], zero=0.1)["voltage"]
    assert data.signal.values.tolist() == ["a", "b", "c"]
    assert data.cycle.values.tolist() == [1] * 100 + [3] * 50
    assert data.epoch.values.tolist() == [1] * 100 + [2] * 50
    np.testing.assert_allclose(data.time, np.r_[first.times, later.times] - 0.1)
    np.testing.assert_array_equal(data.sel(signal="b"), np.r_[first.values[1], later.values[0]])
    np.testing.assert_array_equal(data.sel(signal="a"), np.r_[first.values[0], [np.nan] * 50])
    across = data.sel(signal="b").isel(time=slice(95, 105))
    np.testing.assert_array_equal(across, np.r_[first.values[1, 95:], later.values[0, :5]])


def test_units_tell_apart_what_changed_them(tmp_path):
    """An amplifier's output is mV in current clamp and pA in voltage clamp."""
    one = write_voltage(tmp_path, noise(5, "P"), rate=1000, units={"P": ("mV", 1, 1)})
    two = write_voltage(
        tmp_path, noise(5, "P"), rate=1000, units={"P": ("pA", 1, 1)}, cycle=2, start=9
    )
    data = read_voltage(tmp_path, [link(one), link(two)])["voltage"]
    assert data.signal.values.tolist() == ["P (mV)", "P (pA)"]
    assert np.isnan(data.sel(signal="P (mV)")[5:]).all()


def test_overlapping_recordings_are_left_out(tmp_path):
    one = write_voltage(tmp_path, noise(100), rate=1000, start=0)
    two = write_voltage(tmp_path, noise(100), rate=1000, start=0.05, cycle=2)
    with pytest.warns(DamagedRecordingWarning, match=r"begins at 0.05 s.*cycles=\[2\]"):
        data = read_voltage(tmp_path, [link(one), link(two)])["voltage"]
    np.testing.assert_array_equal(data, one.values)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("cut", [1, 2, 3, 9, 10, 12])
def test_a_last_line_that_is_cut_off_is_left_out(tmp_path, request, cut, lazy):
    """Its line ends at a newline; without one its last number may lack digits."""
    if lazy:
        request.getfixturevalue("small")
    truth = write_voltage(tmp_path, noise(300), rate=1000, cut=cut, line_ending="\n", samples=400)
    with pytest.warns(DamagedRecordingWarning, match="last line is cut off"):
        data = read_voltage(tmp_path, [link(truth)])["voltage"]
    np.testing.assert_array_equal(data, truth.values[:, :299])


def test_a_last_line_without_an_end_is_kept_if_it_is_the_last_sample(tmp_path):
    truth = write_voltage(tmp_path, noise(300), rate=1000, cut=2)
    data = read_voltage(tmp_path, [link(truth)])["voltage"]
    np.testing.assert_array_equal(data, truth.values)


def test_zeros_and_blank_lines_at_the_end_are_no_samples(tmp_path):
    truth = write_voltage(tmp_path, noise(300), rate=1000)
    truth.table.write_bytes(truth.table.read_bytes() + b"\r\n\r\n" + bytes(200_000))
    data = read_voltage(tmp_path, [link(truth)])["voltage"]
    np.testing.assert_array_equal(data, truth.values)


def test_infinity_stays(tmp_path):
    values = [0.0, np.inf, -np.inf, 1.0]
    truth = write_voltage(tmp_path, {"a": values, "b": values}, rate=1000)
    text = truth.table.read_text(encoding="utf-8")
    truth.table.write_text(text.replace("1,inf,", "1,∞,"), encoding="utf-8")
    data = read_voltage(tmp_path, [link(truth)])["voltage"]
    np.testing.assert_array_equal(data, [values, values])


def test_lost_samples_are_said(tmp_path):
    truth = write_voltage(tmp_path, noise(20), rate=1000, lost=True)
    with pytest.warns(DamagedRecordingWarning, match="LostData"):
        data = read_voltage(tmp_path, [link(truth)])["voltage"]
    assert data.attrs["lost_data"] is True


def test_missing_samples_part_epochs(tmp_path):
    times = np.r_[np.arange(100), np.arange(150, 200)] * 1.0
    truth = write_voltage(tmp_path, noise(150), rate=1000, times=times)
    with pytest.warns(DamagedRecordingWarning, match="line 102 .51 ms after"):
        data = read_voltage(tmp_path, [link(truth)])["voltage"]
    np.testing.assert_allclose(data.time, truth.times)
    assert data.epoch.values.tolist() == [1] * 100 + [2] * 50


def test_irregular_times_are_kept_as_recorded(tmp_path, small):
    times = np.cumsum(np.random.default_rng(0).uniform(0.8, 1.2, 300))
    truth = write_voltage(tmp_path, noise(300), rate=1000, times=times, nominal_rate=975)
    data = read_voltage(tmp_path, [link(truth)])["voltage"]
    np.testing.assert_array_equal(data.time, truth.times)
    np.testing.assert_array_equal(data, truth.values)


def test_a_hole_in_the_middle_of_a_long_table_is_found(tmp_path, small):
    """The ends are even, but the number of samples is not what they say."""
    times = np.delete(np.arange(500.0), slice(250, 260))
    truth = write_voltage(tmp_path, noise(490), rate=1000, times=times)
    with pytest.warns(DamagedRecordingWarning, match="samples are missing"):
        data = read_voltage(tmp_path, [link(truth)])["voltage"]
    np.testing.assert_allclose(data.time, truth.times)
    np.testing.assert_array_equal(data, truth.values)


def test_a_long_table_that_lies_is_refused_when_it_is_read(tmp_path, small):
    times = np.arange(500.0)
    times[250] += 0.4
    times[251:260] += 0.7
    truth = write_voltage(tmp_path, noise(500), rate=1000, times=times)
    data = read_voltage(tmp_path, [link(truth)])["voltage"]
    np.testing.assert_array_equal(data[:, :200], truth.values[:, :200])
    with pytest.raises(RecordingError, match=r"line 253 is 251.7 ms where 251 .*check='headers'"):
        data.load()
    exact = read_voltage(tmp_path, [link(truth)], exact=True)["voltage"]
    np.testing.assert_array_equal(exact.time, truth.times)
    np.testing.assert_array_equal(exact, truth.values)


def test_rounded_times_are_even(tmp_path):
    """At 20 kHz a time with one digit after the point stands twice."""
    times = np.floor(np.arange(200) / 2) / 10
    truth = write_voltage(tmp_path, noise(200), rate=20_000, times=times)
    data = read_voltage(tmp_path, [link(truth)])["voltage"]
    np.testing.assert_allclose(np.diff(data.time), 5e-5, rtol=0.01)


@pytest.mark.parametrize("wrong", [[0, 1, 2, 2, 5, 6], [0, 1, 3, 2, 5, 6], [0, 1, np.nan, 3, 4, 5]])
def test_times_that_do_not_increase_are_refused(tmp_path, wrong):
    truth = write_voltage(tmp_path, noise(6), rate=1000, times=wrong)
    with pytest.warns(DamagedRecordingWarning, match="do not increase in line [45]"):
        assert read_voltage(tmp_path, [link(truth)]) is None


def test_one_sample_is_a_recording(tmp_path):
    truth = write_voltage(tmp_path, {"a": [2.5]}, rate=1000)
    assert read_voltage(tmp_path, [link(truth)])["voltage"].values.tolist() == [[2.5]]


def edit(change):
    def apply(truth):
        truth.table.write_bytes(change(truth.table.read_bytes()))

    return apply


DAMAGES = {
    "empty": (edit(lambda text: b""), "is empty"),
    "header alone": (edit(lambda text: text[:24]), "no samples"),
    "missing": (lambda truth: truth.table.unlink(), "is missing"),
    "another table": (edit(lambda text: text.replace(b"Time(ms)", b"Seconds")), "'Seconds'"),
    "too few numbers": (
        edit(lambda text: text.replace(b"\n2,", b"\n")),
        "2 numbers were|3 numbers",
    ),
    "too many numbers": (
        edit(lambda text: text.replace(b"\n2,", b"\n2,7,")),
        "damaged in or after",
    ),
    "words": (edit(lambda text: text.replace(b"\n2,", b"\nabc,")), "damaged in or after line 2"),
    "decimal comma": (edit(lambda text: text.replace(b".", b",")), "different recordings"),
    "no line ends": (edit(lambda text: text[:30] + b"1" * 200_000), "line"),
    "binary": (edit(lambda text: bytes(range(256)) * 100), "first column"),
}


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_table_is_left_out_and_named(tmp_path, request, damage, lazy):
    if lazy:
        request.getfixturevalue("small")
    change, words = DAMAGES[damage]
    truth = write_voltage(tmp_path, noise(20), rate=1000)
    other = write_voltage(tmp_path, noise(20), rate=1000, cycle=2, start=5)
    change(truth)
    with pytest.warns(DamagedRecordingWarning, match=words) as caught:
        data = read_voltage(tmp_path, [link(truth), link(other)])["voltage"]
    assert truth.table.name in str(caught[0].message)
    np.testing.assert_array_equal(data, other.values)


def test_without_settings_the_header_names_volts(tmp_path):
    truth = write_voltage(tmp_path, noise(5, "a", "b"), rate=1000)
    truth.settings.unlink()
    with pytest.warns(DamagedRecordingWarning, match="taken as volts"):
        data = read_voltage(tmp_path, [link(truth)])["voltage"]
    assert data.signal.values.tolist() == ["a", "b"]
    assert data.attrs["units"] == "V"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<Divisor>1<", "<Divisor>0<", "divisor 0"),
        ("<Rate>1000<", "<Rate>fast<", "<Rate>fast</Rate>.*number was expected"),
        ("<VRecSessionEntry>", "<!DOCTYPE a [<!ENTITY b 'c'>]><VRecSessionEntry>", "document type"),
        ("VRecSessionEntry>", "Other>", "expected an XML file with the root"),
        ("</Experiment>", "", "not a readable XML file"),
    ],
)
def test_damaged_settings_are_named(tmp_path, old, new, words):
    truth = write_voltage(tmp_path, noise(5), rate=1000)
    truth.settings.write_text(truth.settings.read_text().replace(old, new))
    with pytest.raises(RecordingError, match=words):
        read_settings(truth.settings)
    with pytest.warns(DamagedRecordingWarning, match=words):
        assert read_voltage(tmp_path, [link(truth)])["voltage"].shape == (2, 5)


def test_a_name_that_leaves_the_folder_is_refused(tmp_path):
    inside = tmp_path / "recording"
    inside.mkdir()
    truth = write_voltage(tmp_path, noise(5), rate=1000)
    leaving = truth.link | {"dataFile": "../" + truth.table.name}
    with pytest.warns(DamagedRecordingWarning, match="bare file name"):
        assert read_voltage(inside, [(1, leaving)]) is None
    with pytest.raises(RecordingError, match="bare file name"):
        side_file(inside, "..")


def test_no_start_is_said(tmp_path):
    truth = write_voltage(tmp_path, noise(5), rate=1000)
    del truth.link["absoluteTime"]
    with pytest.warns(DamagedRecordingWarning, match="absoluteTime=None"):
        data = read_voltage(tmp_path, [link(truth)], zero=0.5)["voltage"]
    assert data.time[0] == -0.5


def test_a_file_that_changes_is_noticed(tmp_path, small):
    truth = write_voltage(tmp_path, noise(400), rate=1000)
    data = read_voltage(tmp_path, [link(truth)])["voltage"]
    write_voltage(tmp_path, noise(900, seed=4), rate=1000)
    with pytest.raises(RecordingError, match="changed after"):
        data.load()


def test_nothing_to_read_is_none(tmp_path):
    assert read_voltage(tmp_path, []) is None


@settings(
    deadline=None,
    derandomize=True,
    max_examples=80,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    which=st.sampled_from(["table", "settings"]),
    edits=st.lists(
        st.tuples(
            st.integers(0, 3000),
            st.integers(0, 40),
            st.binary(max_size=6) | st.sampled_from([b"\n", b",", b"1e999", b"<", b"&#x1;", b"-"]),
        ),
        min_size=1,
        max_size=4,
    ),
    exact=st.booleans(),
)
def test_mutated_files_never_raise_at_open(tmp_path, small, which, edits, exact):
    """What is wrong is said; reading what was opened fails with calscipy's own error alone."""
    truth = write_voltage(tmp_path, noise(120), rate=1000)
    path = getattr(truth, which)
    text = path.read_bytes()
    for at, length, put in edits:
        at %= len(text)
        text = text[:at] + put + text[at + length :]
    path.write_bytes(text)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", CalscipyWarning)
        dataset = read_voltage(tmp_path, [link(truth)], exact=exact)
        try:
            values = None if dataset is None else dataset["voltage"].values
        except RecordingError:
            return
    assert values is None or values.shape == tuple(dataset["voltage"].sizes.values())


@real
def test_real_settings():
    """Read by eye: four of eight signals, 1 kHz, 1200.09 s."""
    found = read_settings(REAL / f"{REAL.name}_Cycle00001_VoltageRecording_001.xml")
    assert [signal.name for signal in found.signals if signal.enabled] == [
        "PicoSpritzer",
        "PhotoDiode",
        "Locomotion",
        "VISstim",
    ]
    assert [signal.input for signal in found.signals][:4] == [f"AI(1,{n})" for n in range(4)]
    assert {(signal.units, signal.scale) for signal in found.signals} == {("V", 1.0)}
    assert (found.rate, found.samples, found.lost_data) == (1000, 1200090, False)
    assert (found.trigger, found.experiment) == ("None", "Current")
    assert found.date == "2021-12-01T10:52:35.3717813-05:00"
    assert found.everything["Experiment"]["AcquisitionTime"] == "1200090"
    assert len(found.everything["Experiment"]["PlotConfigList"]["VRPlotConfig"]) == 6


@real
def test_real_settings_without_their_table(tmp_path):
    name = f"{REAL.name}_Cycle00001_VoltageRecording_001"
    shutil.copy(REAL / f"{name}.xml", tmp_path)
    attributes = {"configurationFile": f"{name}.xml", "dataFile": f"{name}.csv"}
    with pytest.warns(DamagedRecordingWarning, match=f"{name}.csv: the file is missing"):
        assert read_voltage(tmp_path, [(1, attributes)]) is None


@real
def test_real_files_of_another_kind_are_refused():
    with pytest.raises(RecordingError, match="<Experiment>"):
        parse_side_file(REAL / f"{REAL.name}_Cycle00001_VoltageOutput_001.xml", "VRecSessionEntry")


@pytest.mark.parametrize("odd", ["", "1,2e3,nan,∞"])
def test_tables_are_the_same_by_either_parser(tmp_path, monkeypatch, odd):
    """Small tables are not worth starting numba, if nobody has."""
    table = read_table(write_voltage(tmp_path, noise(300, "a", "b", "c"), rate=1000).table)
    text = table_text(table) + odd.encode()
    found = []
    for in_use in (True, False):
        monkeypatch.setattr(voltage_rows, "in_use", lambda in_use=in_use: in_use)
        found.append(voltage_rows.parse_rows(table, text, 0))
    np.testing.assert_array_equal(*found)
    assert len(found[0]) == 300 + bool(odd)


def table_text(table):
    with open(table.path, "rb") as file:
        return file.read()[table.start : table.stop]
