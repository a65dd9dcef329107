"""Connecting to PrairieView, and sending it any command whose parameters are checked."""

from __future__ import annotations

import math
import re
import threading
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from calscipy.errors import ArgumentError
from calscipy.prairielink.commands import SEPARATOR, find_command
from calscipy.prairielink.connection import (
    Connection,
    PrairieLinkError,
    PrairieLinkTimeoutError,
)

PORT = 1236
_PROBE = "-spp"  # a question that changes nothing
_NO_WAIT = "-nw"
_LONGEST = 1e6  # seconds to wait for anything
_PAUSE = 0.2  # seconds between attempts to connect
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}\Z")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\Z")
_WORDS: dict[str, bool | float] = {
    "True": True,
    "False": False,
    "∞": math.inf,
    "-∞": -math.inf,
    "Infinity": math.inf,
    "-Infinity": -math.inf,
    "NaN": math.nan,
}

Value = bool | int | float | str


class Link:
    """A connection that is made when it is first needed, and what goes through it.

    The parameters are those of `calscipy.prairielink.PrairieLink`, which adds a verb for each
    common command.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = PORT,
        password: str | None = None,
        *,
        timeout: float = 2.0,
        retries: int = 5,
    ) -> None:
        _require_whole("port", port, 1, 65535)
        _require_whole("retries", retries, 0, 1000)
        _require_seconds("timeout", timeout)
        if password is not None and not (password.isascii() and password.isprintable()):
            raise ArgumentError("PrairieLink: the password must be ASCII text on one line.")
        self.host, self.port = host, int(port)
        self.timeout, self.retries = float(timeout), int(retries)
        self._password = password
        self._connection: Connection | None = None
        self._busy = threading.RLock()  # held while an answer is awaited

    def __repr__(self) -> str:
        state = "connected" if self.connected else "not connected"
        return f"{type(self).__name__}({self.host!r}, port={self.port}, {state})"

    # -- connection ------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether there is a connection, as far as is known without asking."""
        return self._connection is not None

    def connect(self) -> Self:
        """Connect, unless that is done.

        Raises
        ------
        PrairieLinkError
            If nothing listens there, or the password is wrong.
        PrairieLinkTimeoutError
            If there is no answer in time.
        """
        with self._busy:
            if self._connection is None:
                self._connection = self._new_connection()
        return self

    def disconnect(self) -> None:
        """Take leave of PrairieView and hang up; nothing happens without a connection."""
        with self._busy:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def __enter__(self) -> Self:
        return self.connect()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.disconnect()

    def _new_connection(self) -> Connection:
        connection = self._reach()
        try:
            connection.greet(self._password, _PROBE, self.timeout)
        except BaseException:
            connection.close()
            raise
        return connection

    def _reach(self) -> Connection:
        for attempt in range(self.retries + 1):
            if attempt:
                time.sleep(_PAUSE)
            try:
                return Connection(self.host, self.port, self.timeout)
            except OSError as error:
                failure = error
        late = isinstance(failure, TimeoutError)
        raise (PrairieLinkTimeoutError if late else PrairieLinkError)(
            f"{self.host}:{self.port}: no connection in {self.retries + 1} attempts ({failure}). "
            "Check that PrairieView runs there, that the address is right and that a firewall "
            "lets the port through."
        ) from failure

    # -- any command -----------------------------------------------------------------------

    def command(self, name: str, *parameters: Any, wait: float | None = 0.0) -> Value | None:
        """Send one command, its parameters checked.

        Parameters
        ----------
        name : str
            Long or short name, such as ``"SetOpticalZoom"`` or ``"-oz"``.
        *parameters
            As the command takes them; the error for wrong ones says how.
        wait : float or None, default 0
            Seconds until it has to be done, if that is longer than ``timeout``. None to go on at
            once, while PrairieView works.

        Returns
        -------
        bool, int, float, str or None
            The answer of a command that gives one.

        Raises
        ------
        ArgumentError
            If the command is unknown or not offered, or a parameter is not what it takes.
        PrairieLinkError
            If the connection breaks off or the answer is not understood.
        PrairieLinkTimeoutError
            If PrairieView does not answer, or is not done, in time.
        """
        values = self.request([(name, *parameters)], wait=wait)
        return values[0] if values else None

    def request(
        self, commands: Iterable[tuple[Any, ...]], *, wait: float | None = 0.0
    ) -> list[Value]:
        """Send several commands as one request; PrairieView runs one after the other.

        Parameters
        ----------
        commands : iterable of tuple
            Each a name and its parameters.
        wait : float or None, default 0
            As for `command`.

        Returns
        -------
        list
            The answers, of those that give one.

        Raises
        ------
        ArgumentError, PrairieLinkError, PrairieLinkTimeoutError
            As for `command`; after an `ArgumentError` nothing has been sent.
        """
        if wait is not None and wait != 0.0:
            _require_seconds("wait", wait)
        pairs = [(find_command(name), values) for name, *values in commands]
        if not pairs:
            raise ArgumentError("PrairieLink: a request needs at least one command, got none.")
        texts = [command.encode(tuple(values)) for command, values in pairs]
        if wait is None:
            texts.insert(0, _NO_WAIT)
        text, count = SEPARATOR.join(texts), sum(command.returns for command, _ in pairs)
        attempts = 1 + (self.retries if count == len(pairs) else 0)  # only reading is tried again
        with self._busy:
            lines = self._answered(text, count, attempts, max(self.timeout, wait or 0.0))
        return [parse_value(line) for line in lines]

    def _answered(self, text: str, count: int, attempts: int, wait: float) -> list[str]:
        """Send a request until it is answered, or the last attempt fails."""
        while True:
            attempts -= 1
            if self._connection is not None and not self._connection.ready():
                self.disconnect()  # PrairieView hung up in between; nothing has been sent yet
            connection = self.connect()._connection
            assert connection is not None
            try:
                return connection.request(text, count, self.timeout, wait)
            except PrairieLinkError:
                self.disconnect()  # else a late answer would be taken for the next one's
                if attempts <= 0:
                    raise
            except BaseException:  # such as an interruption from the keyboard
                self.disconnect()
                raise

    def abort(self) -> None:
        """Stop whatever runs, also while another thread waits for it."""
        if self._busy.acquire(blocking=False):
            try:
                self.command("stop")
            finally:
                self._busy.release()
            return
        connection = self._new_connection()
        try:
            connection.request("-stop", 0, self.timeout, self.timeout)
        finally:
            connection.close()


def parse_value(text: str) -> Value:
    """Read a value as PrairieView writes it; what is no number or truth value stays text.

    Examples
    --------
    >>> parse_value("512"), parse_value("6.3179E-05"), parse_value("True"), parse_value("-∞")
    (512, 6.3179e-05, True, -inf)
    >>> parse_value("Galvo")
    'Galvo'
    """
    if text in _WORDS:
        return _WORDS[text]
    if _WHOLE.match(text):
        return int(text)
    return float(text) if len(text) < 64 and _NUMBER.match(text) else text


def _require_whole(name: str, value: Any, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ArgumentError(
            f"PrairieLink: {name} must be a whole number from {low} to {high}, got {value!r}."
        )


def _require_seconds(name: str, value: Any) -> None:
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    if not numeric or not 0 < value <= _LONGEST:
        raise ArgumentError(
            f"PrairieLink: {name} must be a positive time of at most {_LONGEST:g} s, got {value!r}."
        )
