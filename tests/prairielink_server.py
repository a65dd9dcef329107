"""A PrairieView for tests: a server on loopback that speaks the script protocol as documented."""

import socket
import threading
from dataclasses import dataclass, field

STATE = {
    ("linesPerFrame",): "512",
    ("pixelsPerLine",): "256",
    ("framePeriod",): "0.033611228",
    ("activeMode",): "Galvo",
    ("micronsPerPixel", "XAxis"): "1.37",
    ("laserPower", "0"): "79.48",
    ("positionCurrent", "ZAxis", "0"): "-46.925",
    ("useInterlacedScanPattern",): "False",
}
LONG_NAMES = {
    "getstate": "gts",
    "samplesperpixel": "spp",
    "droppeddata": "dd",
    "getmotorposition": "gmp",
    "tseries": "ts",
    "abort": "stop",
    "exit": "x",
    "nowait": "nw",
}


@dataclass
class SimulatedPrairieView:
    """Listens on a free port while a ``with`` block lasts.

    ``faults`` holds what goes wrong with the next requests but for the greeting's, one each:
    None, ``"silent"`` (no answer), ``"hang up"`` (before the acknowledgement), ``"hang up late"``
    (after it), ``"no done"``, or text that is sent in place of the answer.
    """

    password: str | None = None
    password_answer: bytes = b""  # what the password line is answered by
    split: bool = False  # one byte in a packet
    scan_seconds: float = 0.0
    dropped_data: bool = False
    faults: list = field(default_factory=list)
    state: dict = field(default_factory=lambda: dict(STATE))

    def __post_init__(self):
        self.requests = []  # each a list of commands with their parameters, greetings left out
        self.greetings = 0
        self.motors = {}
        self.goodbyes = 0
        self.hung_up_on = 0
        self.scanning = threading.Event()
        self.stopped = threading.Event()
        self.problems = []
        self._closing = threading.Event()

    def __enter__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(0.05)
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()
        return self

    def __exit__(self, *error):
        self._closing.set()
        self.stopped.set()
        for thread in self._threads:  # grows no more once the first one has ended
            thread.join(10)
        self._listener.close()
        assert not any(thread.is_alive() for thread in self._threads)
        assert not self.problems

    def _accept(self):
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except TimeoutError:
                continue
            thread = threading.Thread(target=self._guarded, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _guarded(self, connection):
        with connection:
            try:
                self._serve(connection)
            except OSError:
                self.hung_up_on += 1
            except Exception as problem:
                self.problems.append(problem)

    def _serve(self, connection):
        lines = self._lines(connection)
        if self.password is not None:
            if next(lines, None) != self.password:
                return
            self._send(connection, self.password_answer)
        greeted = False
        for line in lines:
            commands = self._parse(line)
            names = [name for name, *_ in commands]
            if "x" in names:
                self.goodbyes += 1
                return
            fault = None
            if greeted:
                self.requests.append(commands)
                fault = self.faults.pop(0) if self.faults else None
            elif names == ["spp"]:
                greeted = True
                self.greetings += 1
            if not self._answer(connection, commands, names, fault):
                return
        self.hung_up_on += 1

    def _answer(self, connection, commands, names, fault):
        """Answer one request; False to hang up."""
        if fault == "hang up":
            return False
        if fault == "silent":
            return True
        if fault not in (None, "hang up late", "no done"):
            self._send(connection, fault.encode())
            return True
        self._send(connection, b"ACK\r\n")
        if fault == "hang up late":
            return False
        if "stop" in names:
            self.stopped.set()
            commands = []  # nothing else of its request is run
        if "nw" in names:
            self._send(connection, b"DONE\r\n")
        for name, *parameters in commands:
            value = self._run(name, parameters)
            if value is not None:
                self._send(connection, f"{value}\r\n".encode())
        if "nw" not in names and fault != "no done":
            self._send(connection, b"DONE\r\n")
        return True

    def _run(self, name, parameters):
        match name:
            case "gts":
                return self.state.get(tuple(parameters), "")
            case "spp":
                return 36
            case "dd":
                return self.dropped_data
            case "gmp":
                return self.motors.get(tuple(parameters), 0.0)
            case "ma":
                axis, um, *device = parameters
                self.motors[axis, *device] = float(um)
            case "mr":
                axis, um, *device = (word for word in parameters if word != "Wait")
                self.motors[axis, *device] = self.motors.get((axis, *device), 0.0) + float(um)
            case "ts" | "w":
                self.scanning.set()
                self.stopped.wait(self.scan_seconds)
        return None

    @staticmethod
    def _parse(line):
        commands = []
        for word in line.split("\x01"):
            if word.startswith("-") and not word[1:2].isdigit():
                name = word[1:].lower()
                commands.append([LONG_NAMES.get(name, name)])
            else:
                commands[-1].append(word)
        return commands

    def _lines(self, connection):
        connection.settimeout(0.05)
        unread = b""
        while not self._closing.is_set():
            try:
                piece = connection.recv(4096)
            except TimeoutError:
                continue
            if not piece:
                return
            *lines, unread = (unread + piece).split(b"\r\n")
            yield from (line.decode("ascii") for line in lines)

    def _send(self, connection, data):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in [data[at : at + 1] for at in range(len(data))] if self.split else [data]:
            connection.sendall(piece)
