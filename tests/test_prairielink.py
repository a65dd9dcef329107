"""PrairieLink against a simulated PrairieView on loopback."""

import math
import socket
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calscipy.errors import ArgumentError, CalscipyError
from calscipy.prairielink import PrairieLink, PrairieLinkError, PrairieLinkTimeoutError
from calscipy.prairielink import link as link_module
from calscipy.prairielink.commands import COMMANDS, find_command
from calscipy.prairielink.connection import MAX_LINE_BYTES

from .prairielink_server import SimulatedPrairieView

LONG = 10.0  # s: never reached, however busy the machine
SHORT = 0.25


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(link_module, "_PAUSE", 0.01)


@pytest.fixture
def server():
    with SimulatedPrairieView() as running:
        yield running


def linked(server, **options):
    return PrairieLink(port=server.port, **{"timeout": LONG, "retries": 0} | options)


# -- reading


def test_the_block_gives_the_link_and_takes_leave(server):
    with linked(server) as link:
        assert isinstance(link, PrairieLink)  # F49: None in the original
        assert link.connected
        assert server.greetings == 1
    assert not link.connected
    assert (server.goodbyes, server.hung_up_on) == (1, 0)
    link.disconnect()
    assert server.goodbyes == 1


def test_a_link_that_never_connected_is_left_without_a_trace():
    link = PrairieLink(port=1)
    link.disconnect()
    del link  # F49: __del__ of the original ran into what __init__ had not made
    with pytest.raises(ArgumentError, match=r"port must be a whole number from 1 to 65535, got 0"):
        PrairieLink(port=0)


@pytest.mark.parametrize("split", [False, True])
def test_state_comes_typed_however_the_packets_are_cut(split):
    with SimulatedPrairieView(split=split) as server, linked(server) as link:
        assert link.get_state("framePeriod") == 0.033611228  # F49: None in the original
        assert link.get_state("activeMode") == "Galvo"
        assert link.get_state("useInterlacedScanPattern") is False
        assert link.get_state("micronsPerPixel", "XAxis") == 1.37
        assert link.get_state("laserPower", 0) == 79.48
        assert link.get_state("positionCurrent", "ZAxis", 0) == -46.925
        assert (link.lines_per_frame, link.pixels_per_line) == (512, 256)
        assert link.samples_per_pixel == 36
        assert server.requests[3] == [["gts", "micronsPerPixel", "XAxis"]]


@pytest.mark.parametrize("dropped", [False, True])
def test_dropped_data_is_told(dropped):
    with SimulatedPrairieView(dropped_data=dropped) as server, linked(server) as link:
        assert link.dropped_data is dropped


def test_an_answer_of_the_wrong_kind_is_an_error(server):
    server.state[("linesPerFrame",)] = "many"
    with linked(server) as link:
        with pytest.raises(PrairieLinkError, match=r"answered by 'many', where int was expected"):
            _ = link.lines_per_frame
        server.motors[("X",)] = "none"
        with pytest.raises(PrairieLinkError, match=r"a position was expected for the axis X"):
            link.get_motor_position("X")


@pytest.mark.parametrize(
    ("text", "value"),
    [("0512", 512), ("1e-7", 1e-7), ("-.5", -0.5), ("∞", math.inf), ("1_000", "1_000"), ("", "")],
)
def test_values_read_as_they_are_written(text, value):
    found = link_module.parse_value(text)
    assert found == value
    assert type(found) is type(value)
    assert math.isnan(link_module.parse_value("NaN"))


# -- doing


def test_several_commands_go_in_one_request(server):
    with linked(server) as link:
        answers = link.request(
            [("-GetState", "framePeriod"), ("SetOpticalZoom", 2), ("dd",), ("spp",)]
        )
    assert answers == [0.033611228, False, 36]
    assert server.requests == [[["gts", "framePeriod"], ["oz", "2"], ["dd"], ["spp"]]]


def test_motors_move_and_tell(server):
    with linked(server) as link:
        link.set_motor_position("Z", -12.5, device=1)
        link.move_motor("Z", 2.25, device=1, wait=LONG)
        link.move_motor("X", 1e-7)
        assert link.get_motor_position("Z", 1) == -10.25
        with pytest.raises(ArgumentError, match=r"name its device"):
            link.move_motor("X", 1, wait=LONG)
    assert server.requests[:3] == [
        [["ma", "Z", "-12.5", "1"]],
        [["mr", "Z", "2.25", "1", "Wait"]],
        [["mr", "X", "0.0000001"]],
    ]


def test_protocols_are_loaded_and_scans_started(server):
    with linked(server) as link:
        link.load_mark_points(r"D:\data\a series.xml")
        link.load_mark_points("points.gpl", clear=True)
        link.load_voltage_output("out.xml")
        link.load_environment("rig.env")
        link.load_t_series("ten.env")
        link.mark_points("mouse 1", "cells")
        link.mark_points(wait=LONG)
        link.mark_all_points()
        link.z_series()
        link.single_scan(wait=LONG)
        link.line_scan()
        link.live_scan(False)
        link.wait_for_scan(LONG)
        with pytest.raises(ArgumentError, match=r"takes a category and an experiment"):
            link.mark_points("mouse 1")
    assert server.requests == [
        [["lmp", r"D:\data\a series.xml"]],
        [["lmp", "points.gpl", "True"]],
        [["lvo", "out.xml"]],
        [["le", "rig.env"]],
        [["tsl", "ten.env"]],
        [["nw"], ["mp", "mouse 1", "cells"]],
        [["mp"]],
        [["nw"], ["slm"]],
        [["nw"], ["zs"]],
        [["ss"]],
        [["nw"], ["ls"]],
        [["lv", "off"]],
        [["w"]],
    ]


def test_a_late_done_is_waited_for(server):
    server.scan_seconds = 3 * SHORT
    with linked(server) as link:
        link.timeout = 2 * SHORT
        begin = time.monotonic()
        link.t_series(wait=LONG)
        assert time.monotonic() - begin >= 3 * SHORT
        link.timeout = LONG
        assert link.samples_per_pixel == 36


def test_a_scan_that_takes_too_long_says_so_and_leaves_nothing_behind(server):
    server.scan_seconds = LONG
    with linked(server, timeout=LONG) as link:
        link.timeout = 2 * SHORT
        with pytest.raises(PrairieLinkTimeoutError, match=r"took '-ts' but was not done within"):
            link.t_series(wait=SHORT)
        assert not link.connected
        link.timeout = LONG
        assert link.samples_per_pixel == 36  # on a new connection, the late DONE is not met
        link.abort()
    assert server.requests.count([["ts"]]) == 1


def test_no_waiting_comes_back_at_once_and_abort_stops(server):
    server.scan_seconds = LONG
    with linked(server) as link:
        begin = time.monotonic()
        link.t_series()
        assert time.monotonic() - begin < LONG / 2
        assert server.scanning.wait(LONG)
        server.stopped.set()
        link.abort()
    assert server.requests == [[["nw"], ["ts"]], [["stop"]]]


def test_another_thread_can_abort_what_one_waits_for(server):
    server.scan_seconds = 3 * LONG
    with linked(server) as link:
        waiting = threading.Thread(target=link.t_series, kwargs={"wait": 2 * LONG})
        waiting.start()
        assert server.scanning.wait(LONG)
        link.abort()
        waiting.join(LONG)
        assert not waiting.is_alive()
        assert link.connected
    assert server.greetings == 2


# -- what goes wrong


@pytest.mark.parametrize("answer", [b"", b"ACK\r\n", b"ACK\r\nDONE\r\n"])
def test_the_password_line_may_be_answered_or_not(answer):
    with (
        SimulatedPrairieView(password="let me in", password_answer=answer) as server,
        linked(server, password="let me in") as link,
    ):
        assert link.get_state("linesPerFrame") == 512
        assert "let me in" not in repr(link)


@pytest.mark.parametrize(("password", "word"), [("wrong", "wrong"), (None, "missing")])
def test_a_wrong_password_is_explained(password, word):
    with SimulatedPrairieView(password="right") as server:
        with pytest.raises(PrairieLinkError, match=rf"the password is {word}.*Edit Scripts") as got:
            linked(server, password=password, retries=3).connect()
        assert "right" not in str(got.value)
        assert server.greetings == 0


def test_nothing_listens():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(PrairieLinkError, match=r"no connection in 3 attempts .*firewall"):
        PrairieLink(port=port, timeout=LONG, retries=2).connect()


def test_a_server_that_comes_late_is_reached(monkeypatch):
    with SimulatedPrairieView() as server:
        attempts = []
        real = link_module.Connection

        def refused_twice(*args):
            attempts.append(args)
            if len(attempts) < 3:
                raise ConnectionRefusedError("not yet")
            return real(*args)

        monkeypatch.setattr(link_module, "Connection", refused_twice)
        with linked(server, retries=2) as link:
            assert link.samples_per_pixel == 36
        assert len(attempts) == 3


def test_a_listener_that_says_nothing_is_not_waited_for_forever():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        link = PrairieLink(port=listener.getsockname()[1], timeout=SHORT, retries=0)
        with pytest.raises(PrairieLinkTimeoutError, match=r"connected, but no answer within"):
            link.connect()
        assert not link.connected


@pytest.mark.parametrize("fault", ["hang up", "hang up late", "silent"])
def test_reading_is_tried_again(server, fault):
    server.faults = [fault, fault]
    with linked(server, timeout=LONG, retries=2) as link:
        link.timeout = 4 * SHORT if fault == "silent" else LONG
        assert link.get_state("linesPerFrame") == 512
    assert server.requests == [[["gts", "linesPerFrame"]]] * 3
    assert server.greetings == 3


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("hang up", "broke off before PrairieView acknowledged '-ma Z 5'"),
        ("hang up late", "broke off after PrairieView acknowledged"),
        ("silent", r"no answer to '-ma Z 5' within .* Whether it was carried out is unknown"),
        ("no done", "was not done within"),
        ("NAK\r\n", "ACK was expected for '-ma Z 5', got 'NAK'"),
        ("ACK\r\n12\r\n", "DONE was expected for '-ma Z 5', got '12'"),
    ],
)
def test_movements_are_sent_once(server, fault, message):
    server.faults = [fault]
    with linked(server, retries=5) as link:
        if fault in ("silent", "no done"):
            link.timeout = 2 * SHORT
        with pytest.raises(PrairieLinkError, match=message) as got:
            link.set_motor_position("Z", 5)
        assert isinstance(got.value, CalscipyError)
        assert isinstance(got.value, TimeoutError) == (fault in ("silent", "no done"))
        link.timeout = LONG
        assert link.get_motor_position("Z") == (5.0 if fault == "no done" else 0.0)
    assert server.requests.count([["ma", "Z", "5"]]) == 1


def test_a_request_that_also_moves_is_sent_once(server):
    server.faults = ["hang up"]
    with linked(server, retries=5) as link, pytest.raises(PrairieLinkError, match="broke off"):
        link.request([("gts", "linesPerFrame"), ("mr", "X", 1)])
    assert len(server.requests) == 1


def test_a_missing_value_is_not_taken_from_the_next_answer(server):
    server.faults = ["ACK\r\nDONE\r\nACK\r\n"]
    with linked(server) as link:
        with pytest.raises(PrairieLinkError, match=r"1 values were expected for '-spp', got 0"):
            _ = link.samples_per_pixel
        assert link.samples_per_pixel == 36


def test_a_connection_lost_in_between_is_made_anew(server):
    with linked(server) as link:
        server.faults = ["ACK\r\nDONE\r\n"]
        link.live_scan(True)
        link._connection._socket.shutdown(socket.SHUT_RDWR)
        link.live_scan(False)  # nothing of it had been sent, so even this may be
    assert [request[0] for request in server.requests] == [["lv", "on"], ["lv", "off"]]
    assert server.greetings == 2


def test_endless_lines_are_given_up(server):
    server.faults = ["x" * (MAX_LINE_BYTES + 2)]
    with linked(server) as link, pytest.raises(PrairieLinkError, match=r"a line of more than"):
        link.live_scan(True)


# -- what is let through


def test_every_command_of_the_reference_is_known():
    shorts = {command.short for command in COMMANDS}
    assert " ".join(sorted(shorts)) == (
        "c dd dt fa fi fn ge gmp gts is le lmp lp ls lv lvo ma mp mpw mr oz p pg sam se slm spp sr "
        "ss stop ts tsl w wfit wt zs"
    )
    for command in COMMANDS:
        assert find_command(f"-{command.name.upper()}") is find_command(command.short)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("sts", "laserPower", 5), r"does not offer -sts: it can damage hardware"),
        (("GetImage", 1, 2, 3), r"images and raw samples cannot be fetched.*Save the scan"),
        (("-rrd",), r"cannot be fetched"),
        (("x",), r"disconnect\(\) sends it"),
        (("warp", 9), r"no command 'warp'. It knows .*-TSeries \(-ts\)"),
        (("ts", 1), r"-TSeries was expected, got 1 parameters \(1,\)"),
        (("gts",), r"-GetState key \[index\] \[subindex\] was expected, got 0"),
        (("gts", "a\x01-sts"), "plain ASCII text"),
        (("p", "D:\\x\r\n-ts"), "plain ASCII text"),
        (("p", "D:\\µ"), "plain ASCII text"),
        (("p", "-x"), "plain ASCII text"),
        (("lmp", "points.txt"), r"a path on the acquisition PC.*ending in .xml or .gpl"),
        (("lmp", "series.xml", True), r"ending in .gpl"),
        (("mr", "W", 1), "axis of -MoveMotor must be one of X, Y, Z"),
        (("mr", "X", math.nan), "um of -MoveMotor must be a finite number"),
        (("mr", "X", "5"), "a finite number"),
        (("ma", "Z", 1e9), r"from -1e\+06 to 1e\+06, got 1000000000.0"),
        (("mp", 1.2, 0.5, 10, "Laser", 5), "x of -MarkPoints must be a finite number from 0 to 1"),
        (("lp", 0, 5), "a name, or a number counted from 1"),
        (("lp", 1, 1001), "a finite number from 0 to 1000"),
        (("pg", True, 5), "a whole number from 1 on"),
        (("fn", "TSerie", "a"), "one of AtlasVolume, BrightnessOverTime"),
        (("c", 1, "maybe"), "True, False, 'On' or 'Off'"),
    ],
)
def test_what_is_not_right_is_not_sent(command, message):
    link = PrairieLink(port=1, retries=0)  # nothing listens there: sending would fail otherwise
    with pytest.raises(ArgumentError, match=message):
        link.command(*command)


@pytest.mark.parametrize(
    ("command", "sent"),
    [
        (("lp", "Insight X3", 12.5), "-lp|Insight X3|12.5"),
        (("SetLaserPower", 1, 0), "-lp|1|0"),
        (("c", 2, True), "-c|2|On"),
        (("c", 2, "off"), "-c|2|Off"),
        (("is", 512), "-is|512"),
        (("fn", "tseries", "a b", False), "-fn|TSeries|a b|False"),
        (("mp", 0, 0.25, 10, "Laser", 5), "-mp|0|0.25|10|Laser|5"),
        (("gmp", "z", 0), "-gmp|Z|0"),
    ],
)
def test_parameters_become_text(command, sent):
    name, *values = command
    assert find_command(name).encode(tuple(values)).replace("\x01", "|") == sent


@settings(deadline=None, derandomize=True, max_examples=100)
@given(st.sampled_from(COMMANDS), st.lists(st.text() | st.floats() | st.integers(), max_size=5))
def test_no_parameter_becomes_a_command(command, values):
    try:
        text = command.encode(tuple(values))
    except ArgumentError:
        return
    name, *parameters = text.split("\x01")
    assert name == f"-{command.short}"
    assert len(parameters) == len(values)
    for parameter in parameters:
        assert parameter.isprintable()
        assert not parameter.startswith("-") or parameter[1:].replace(".", "", 1).isdigit()


def test_arguments_of_the_link_are_checked():
    for options in ({"timeout": 0}, {"timeout": math.inf}, {"retries": -1}, {"password": "a\nb"}):
        with pytest.raises(ArgumentError, match=r"timeout|retries|password"):
            PrairieLink(**options)
    with pytest.raises(ArgumentError, match=r"wait must be a positive time"):
        PrairieLink(port=1).t_series(wait=-1)
    with pytest.raises(ArgumentError, match=r"the subindex 0 needs an index"):
        PrairieLink(port=1).get_state("positionCurrent", subindex=0)
    with pytest.raises(ArgumentError, match=r"at least one command"):
        PrairieLink(port=1).request([])
