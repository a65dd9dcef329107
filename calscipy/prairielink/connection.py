"""One TCP connection to PrairieView: requests out, lines in, and nothing of what they mean."""

from __future__ import annotations

import contextlib
import select
import socket
import time

from calscipy.errors import CalscipyError

MAX_LINE_BYTES = 2**16
_STRAY_READS = 16  # of what comes unasked, before the other side is given up
_FAREWELL = 1.0  # seconds that PrairieView has to close the connection
_END = b"\r\n"
_ACKNOWLEDGED, _DONE = "ACK", "DONE"


class PrairieLinkError(CalscipyError, ConnectionError):
    """PrairieView cannot be reached, broke the connection off, or answered something else."""


class PrairieLinkTimeoutError(PrairieLinkError, TimeoutError):
    """PrairieView did not answer in time."""


class Connection:
    """A connected socket and the bytes that have come but are not read.

    Parameters
    ----------
    host : str
        Name or address of the acquisition PC.
    port : int
        Port that PrairieView listens on.
    timeout : float
        Seconds for connecting.
    """

    def __init__(self, host: str, port: int, timeout: float) -> None:
        self._peer = f"{host}:{port}"
        self._unread = bytearray()
        self._socket = socket.create_connection((host, port), timeout)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def greet(self, password: str | None, probe: str, timeout: float) -> None:
        """Send the password and a harmless question, and read until it is answered.

        Whether PrairieView acknowledges the password is not documented: all lines before the
        answer may be missing.
        """
        deadline = time.monotonic() + timeout
        try:
            if password is not None:
                self._send(password, deadline)
            self._send(probe, deadline)
            while self._line(deadline) in (_ACKNOWLEDGED, _DONE):
                pass
            if self._line(deadline) != _DONE:
                raise PrairieLinkError(f"{self._peer}: this does not answer as PrairieView does.")
        except PrairieLinkTimeoutError:
            raise PrairieLinkTimeoutError(
                f"{self._peer}: connected, but no answer within {timeout:g} s. Check that this is "
                "the port of PrairieView (Tools > Scripts) and that it is not busy."
            ) from None
        except ConnectionError as error:
            if isinstance(error, PrairieLinkError) and not isinstance(error, _ClosedError):
                raise
            raise PrairieLinkError(
                f"{self._peer}: PrairieView closed the connection at once, which it does when "
                f"the password is {'missing' if password is None else 'wrong'}. It is shown in "
                "the Edit Scripts dialog of PrairieView; give it as password=."
            ) from error

    def request(self, text: str, values: int, timeout: float, wait: float) -> list[str]:
        """Send a request and return the lines with its values.

        Parameters
        ----------
        text : str
            Commands and parameters.
        values : int
            Lines expected between the acknowledgement and the end.
        timeout, wait : float
            Seconds for the acknowledgement, and for all that follows it.
        """
        shown = text.replace("\x01", " ")
        deadline = time.monotonic() + timeout
        taken = False
        try:
            self._send(text, deadline)
            self._expect(_ACKNOWLEDGED, shown, deadline)
            taken, deadline = True, time.monotonic() + wait
            lines = [self._line(deadline) for _ in range(values)]
            if _DONE in lines:
                raise PrairieLinkError(
                    f"{self._peer}: {values} values were expected for {shown!r}, "
                    f"got {lines.index(_DONE)}. Check its parameters."
                )
            self._expect(_DONE, shown, deadline)
        except PrairieLinkTimeoutError:
            raise PrairieLinkTimeoutError(
                f"{self._peer}: PrairieView took {shown!r} but was not done within {wait:g} s. It "
                "goes on with it; abort() stops it, a longer wait= or timeout= waits for it."
                if taken
                else f"{self._peer}: no answer to {shown!r} within {timeout:g} s. Whether it was "
                "carried out is unknown; look at PrairieView before sending it again."
            ) from None
        except _ClosedError as error:
            raise PrairieLinkError(
                f"{self._peer}: the connection broke off "
                f"{'after' if taken else 'before'} PrairieView acknowledged {shown!r}. Look at "
                "PrairieView before sending it again."
            ) from error
        return lines

    def ready(self) -> bool:
        """Throw away what came unasked, and tell whether the other side is still there."""
        self._unread.clear()
        try:
            for _ in range(_STRAY_READS):
                if not select.select([self._socket], [], [], 0)[0]:
                    return True
                if not self._socket.recv(MAX_LINE_BYTES):
                    return False
        except (OSError, ValueError):  # a closed socket has no number to select by
            return False
        return False  # it never stops talking

    def close(self) -> None:
        """Say ``-x``, without which PrairieView runs into an exception, and hang up."""
        deadline = time.monotonic() + _FAREWELL
        with contextlib.suppress(OSError):
            self._send("-x", deadline)
            self._socket.shutdown(socket.SHUT_WR)
            # Closing with lines unread would reset the connection, and -x might be lost.
            while (left := deadline - time.monotonic()) > 0:
                self._socket.settimeout(left)
                if not self._socket.recv(MAX_LINE_BYTES):
                    break
        self._socket.close()

    def _send(self, text: str, deadline: float) -> None:
        try:
            self._socket.settimeout(max(deadline - time.monotonic(), 1e-3))
            self._socket.sendall(text.encode("ascii") + _END)
        except TimeoutError:
            raise PrairieLinkTimeoutError from None
        except OSError as error:
            raise _ClosedError(str(error)) from error

    def _expect(self, word: str, shown: str, deadline: float) -> None:
        line = self._line(deadline)
        if line != word:
            raise PrairieLinkError(
                f"{self._peer}: {word} was expected for {shown!r}, got {line[:200]!r}."
            )

    def _line(self, deadline: float) -> str:
        while (end := self._unread.find(_END)) < 0:
            if len(self._unread) > MAX_LINE_BYTES:
                raise PrairieLinkError(
                    f"{self._peer}: a line of more than {MAX_LINE_BYTES} bytes came. This is not "
                    "PrairieView, or its answer is damaged."
                )
            left = deadline - time.monotonic()
            if left <= 0:
                raise PrairieLinkTimeoutError
            try:
                self._socket.settimeout(left)
                piece = self._socket.recv(MAX_LINE_BYTES)
            except TimeoutError:
                raise PrairieLinkTimeoutError from None
            except OSError as error:
                raise _ClosedError(str(error)) from error
            if not piece:
                raise _ClosedError("end of the connection")
            self._unread += piece
        line = bytes(self._unread[:end])
        del self._unread[: end + len(_END)]
        return line.decode("utf-8", errors="replace")


class _ClosedError(PrairieLinkError):
    """The other side hung up."""
