"""Tables of decimal numbers in text, turned into numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from calscipy.kernels.compiled import compiled, read_only

MOST_DIGITS, MOST_DECIMALS = 18, 22
EXACT = np.int64(2**53)  # integers up to this, and powers of ten up to 10**22, are exact floats
POWERS = read_only(10.0 ** np.arange(MOST_DECIMALS + 1))
SPACE, COMMA, MINUS, POINT, ZERO, NINE = (np.uint8(ord(sign)) for sign in " ,-.09")
NEW_LINE, RETURN = np.uint8(10), np.uint8(13)


def parse_decimals(text: bytes, columns: int) -> np.ndarray | None:
    r"""Read a table of plain decimal numbers, each as the nearest float64.

    Parameters
    ----------
    text : bytes
        Lines of numbers such as ``-12.5``, with commas between them.
    columns : int
        Numbers in a line.

    Returns
    -------
    ndarray of float64, shape (lines, columns), or None
        None where there is anything else, such as an exponent, an empty field or a number of more
        digits than a float64 holds for certain.

    Examples
    --------
    >>> parse_decimals(b"0,-1.5\n2.25, 3", 2).tolist()
    [[0.0, -1.5], [2.25, 3.0]]
    """
    signs = np.frombuffer(text, np.uint8)
    lines = int(np.count_nonzero(signs == NEW_LINE)) + (not text.endswith(b"\n"))
    if len(text) < lines * 2 * columns - 1:  # a digit and a separator each
        return None
    out = np.empty((lines, columns))
    return out if _parse(signs, POWERS, out) else None


@compiled
def _parse(text: Any, powers: Any, out: Any) -> bool:
    """Fill a table; False at the first thing that is not plain."""
    size, at = len(text), 0
    for row in range(out.shape[0]):
        for column in range(out.shape[1]):
            while at < size and text[at] == SPACE:
                at += 1
            negative = at < size and text[at] == MINUS
            at += negative
            whole, digits, decimals, pointed = np.int64(0), 0, 0, False
            while at < size:
                sign = text[at]
                if ZERO <= sign <= NINE:
                    digits += 1
                    if digits > MOST_DIGITS:
                        return False
                    whole = whole * 10 + np.int64(sign - ZERO)
                    decimals += pointed
                elif sign == POINT and not pointed:
                    pointed = True
                else:
                    break
                at += 1
            if digits == 0 or whole > EXACT:
                return False
            value = whole / powers[decimals]
            out[row, column] = -value if negative else value
            if column < out.shape[1] - 1:
                if at >= size or text[at] != COMMA:
                    return False
                at += 1
        if at < size and text[at] == RETURN:
            at += 1
        if at < size:
            if text[at] != NEW_LINE:
                return False
            at += 1
    return at == size
