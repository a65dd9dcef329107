"""The compiled loops of `calscipy.kernels.rolling`: order statistics of a window that slides.

A row is taken in segments of a few windows. The samples of a segment are sorted, so that each is a
number, its rank, and the window is a set of ranks, one bit each. From one window to the next one
rank comes, one goes, and the wanted member moves by one at most, to a bit close by. So the cost of
a sample depends neither on the length of the window nor on that of the row. Missing samples have no
rank.

Only samples near the wanted quantile of the segment are sorted: of the others it is enough to know
on which side they are. Should the wanted member of a window be among those, the segment is done
again with all of its samples, and more are sorted in the next ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from calscipy.kernels.compiled import compiled

# All that goes with a uint64 is one: numba makes a float of a uint64 and an int.
ZERO, ONE, TWO, FOUR, EIGHT, SIXTEEN, HALF, LAST_BYTE = (
    np.uint64(n) for n in (0, 1, 2, 4, 8, 16, 32, 56)
)
PAIRS = np.uint64(0x5555555555555555)
FOURS = np.uint64(0x3333333333333333)
EIGHTS = np.uint64(0x0F0F0F0F0F0F0F0F)
BYTES = np.uint64(0x0101010101010101)
NAN = np.uint64(0xFFFFFFFFFFFFFFFF)  # key of a missing sample
SIX, LAST = np.uint64(6), np.uint64(63)  # bits of a rank: shifted out, its word; else its bit
UNDER, FIRST = 1, 2  # rank of all samples too low to be sorted, and of the lowest sorted one
BINS, TEN = 2048, np.uint64(10)  # of the histogram that says which samples to sort
EVERY = 4  # sample of a segment enters it


@compiled
def rolling_order(
    rows: Any, values: Any, bits: Any, lower: Any, upper: Any, step: int,
    quantile: float, margin: float, low: Any, high: Any,
) -> None:  # fmt: skip
    """Take two order statistics of the window around each sample of rows mirrored at their ends.

    ``values`` has room for a row and half a window on either side, and ``bits`` is a view of it as
    unsigned integers. A window with ``count`` samples gives those at ``lower[count]`` and
    ``upper[count]`` of its sorted ones, and NaN if it has none. With an empty ``high``, only the
    lower one is taken. ``step`` windows make a segment, of whose samples those within ``margin`` or
    more of the ``quantile`` are sorted: a guess, which changes the time alone.
    """
    window = len(lower) - 1
    most = min(len(values), step + window - 1)
    keys = np.empty((2, most), np.uint64)
    order = np.empty((2, most), np.int32)
    ranks, source = np.empty(most, np.int32), np.empty(most + FIRST, np.int32)
    found = np.empty((2, step), np.int32)
    counts = np.empty(BINS, np.int32)
    members = np.empty((most + FIRST + 1) // 64 + 1, np.uint64)
    reach = margin
    for r in range(len(rows)):
        _mirror(rows[r], window // 2, values)
        for start in range(0, rows.shape[1], step):
            part = slice(start, start + step + window - 1)
            some = bits[part]
            least, greatest = _keys(some, keys[1])
            bottom, top = _trim(keys[1, : len(some)], least, greatest, quantile, reach, counts)
            _rank(keys, order, len(some), bottom, top, counts, ranks, source)
            reach = max(margin, 0.95 * reach)
            if not _slide(ranks[: len(some)], lower, upper, members, found):
                reach = min(1.0, 2 * reach)
                _keys(some, keys[1])
                _rank(keys, order, len(some), least, greatest, counts, ranks, source)
                _slide(ranks[: len(some)], lower, upper, members, found)
            to = slice(start, start + len(some) - window + 1)
            _take(values[part], source, found[0], low[r, to])
            if len(high):
                _take(values[part], source, found[1], high[r, to])


@compiled
def _mirror(row: Any, beyond: int, values: Any) -> None:
    """Copy a row and what lies beyond its ends: ``d c b a | a b c d | d c b a``, and so on."""
    samples = len(row)
    inside = values[beyond : beyond + samples]
    for j in range(samples):
        inside[j] = row[j]
    for j in range(beyond):
        at = (-1 - j) % (2 * samples)
        values[beyond - 1 - j] = row[min(at, 2 * samples - 1 - at)]
        at = (samples + j) % (2 * samples)
        values[beyond + samples + j] = row[min(at, 2 * samples - 1 - at)]


@compiled
def _take(values: Any, source: Any, ranks: Any, out: Any) -> None:
    for i in range(len(out)):
        out[i] = values[source[ranks[i]]] if ranks[i] >= 0 else np.nan


@compiled
def _keys(samples: Any, keys: Any) -> Any:
    """Make keys that ascend with the samples; return the least and the greatest."""
    width = np.uint64(8 * samples.itemsize)
    sign = ONE << (width - ONE)
    mantissa = np.uint64(23 if width == 32 else 52)
    infinite = (sign - ONE) >> mantissa << mantissa
    least, greatest = NAN, ZERO
    for j in range(len(samples)):
        key = np.uint64(samples[j])
        there = (key & (sign - ONE)) <= infinite
        # of two negative numbers, that with the larger bits is the lower one
        key ^= sign if key < sign else sign + (sign - ONE)
        keys[j] = key if there else NAN
        least = min(least, keys[j])
        greatest = max(greatest, key if there else ZERO)
    return least, greatest


@compiled
def _trim(keys: Any, least: Any, greatest: Any, quantile: float, reach: float, counts: Any) -> Any:
    """Return the bounds of the samples to sort: about those so near to a quantile."""
    under_share, over_share = quantile - reach, 1 - quantile - reach
    if greatest < least or (under_share <= 0 and over_share <= 0):
        return least, greatest
    shift = _highest(greatest - least)
    shift -= min(shift, TEN)
    counts[:] = 0
    total = 0
    for j in range(0, len(keys), EVERY):
        if keys[j] != NAN:
            counts[(keys[j] - least) >> shift] += 1
            total += 1
    bottom, top = 0, BINS - 1
    under, over = counts[bottom], counts[top]
    while under <= under_share * total and bottom < top:
        bottom += 1
        under += counts[bottom]
    while over <= over_share * total and top > bottom:
        top -= 1
        over += counts[top]
    # of all bins, this is the largest number, so that the least of the two is right
    reached = (np.uint64(top + 1) << shift) - ONE
    return least + (np.uint64(bottom) << shift), least + min(reached, greatest - least)


@compiled
def _rank(
    keys: Any, order: Any, size: int, bottom: Any, top: Any, counts: Any, ranks: Any, source: Any
) -> None:
    """Give the samples from ``bottom`` to ``top`` their ranks.

    ``source`` tells the sample of a rank. Lower ones are ``UNDER``, higher ones ``size + FIRST``,
    and missing ones higher still. Radix sort from the lowest digit on.
    """
    chosen = 0
    for j in range(size):
        key = keys[1, j]
        keys[0, chosen] = key - bottom
        order[0, chosen] = j
        ranks[j] = UNDER if key < bottom else size + FIRST + 2 * (key == NAN)
        chosen += (key >= bottom) & (key <= top)
    length = np.int64(_highest(top - bottom)) + 1 if chosen else 0
    passes = (length + 7) // 8 if chosen < BINS else (length + 10) // 11
    digit = (length + passes - 1) // passes if passes else 0
    now = 0
    for p in range(passes):
        shift = np.uint64(p * digit)
        some = counts[: 1 << digit]
        _pass(keys[now, :chosen], order[now], keys[1 - now], order[1 - now], some, shift)
        now = 1 - now
    for k in range(chosen):
        ranks[order[now, k]] = k + FIRST
        source[k + FIRST] = order[now, k]


@compiled
def _pass(
    from_keys: Any, from_order: Any, to_keys: Any, to_order: Any, counts: Any, shift: Any
) -> None:
    """Sort by one digit, keeping the order of equal ones."""
    mask = np.uint64(len(counts) - 1)
    counts[:] = 0
    for i in range(len(from_keys)):
        counts[(from_keys[i] >> shift) & mask] += 1
    total = 0
    for d in range(len(counts)):
        here = counts[d]
        counts[d] = total
        total += here
    for i in range(len(from_keys)):
        d = (from_keys[i] >> shift) & mask
        at = counts[d]
        counts[d] = at + 1
        to_keys[at] = from_keys[i]
        to_order[at] = from_order[i]


@compiled
def _slide(ranks: Any, lower: Any, upper: Any, members: Any, found: Any) -> bool:
    """Give the ranks of the wanted order statistics of each window, -1 where it is empty.

    Returns False if one of them is not among the samples that were sorted.
    """
    window = len(lower) - 1
    over = len(ranks) + FIRST
    members[:] = 0
    _insert(members, 0)  # so that there is a member on either side of any other
    _insert(members, over + 1)
    low, high = found[0], found[1]
    count = 0
    now = FIRST  # the rank at, or next to, the lower order statistic
    below = 0  # samples of the window under it
    for j in range(len(ranks)):
        rank = ranks[j]
        if rank <= over:
            _insert(members, rank)
            count += 1
            below += rank < now
        if j >= window and ranks[j - window] <= over:
            rank = ranks[j - window]
            _remove(members, rank)
            count -= 1
            below -= rank < now
        if j < window - 1:
            continue
        i = j - window + 1
        if count == 0:
            low[i] = high[i] = -1
            continue
        wanted = lower[count]
        while below > wanted:
            now = _previous(members, now)
            below -= 1
            if now < FIRST:
                return False
        if not _has(members, now):
            now = _next(members, now)
        while below < wanted and now < over:
            now = _next(members, now)
            below += 1
        second = now
        if now < over and upper[count] != wanted:
            second = _next(members, now)
        if second >= over:
            return False
        low[i] = now
        high[i] = second
    return True


@compiled
def _insert(members: Any, rank: int) -> None:
    at = np.uint64(rank)
    members[at >> SIX] |= ONE << (at & LAST)


@compiled
def _remove(members: Any, rank: int) -> None:
    at = np.uint64(rank)
    members[at >> SIX] &= ~(ONE << (at & LAST))


@compiled
def _has(members: Any, rank: int) -> bool:
    at = np.uint64(rank)
    return (members[at >> SIX] >> (at & LAST)) & ONE != 0


@compiled
def _next(members: Any, rank: int) -> Any:
    """Return the smallest member above a rank; there must be one."""
    at = np.uint64(rank) + ONE
    word = at >> SIX
    rest = members[word] >> (at & LAST)
    if rest:
        return np.int64(at + _lowest(rest))
    word += ONE
    while members[word] == 0:
        word += ONE
    return np.int64((word << SIX) + _lowest(members[word]))


@compiled
def _previous(members: Any, rank: int) -> Any:
    """Return the largest member below a rank; there must be one."""
    at = np.uint64(rank) - ONE
    word = at >> SIX
    rest = members[word] << (LAST - (at & LAST))
    if rest:
        return np.int64(at - (LAST - _highest(rest)))
    word -= ONE
    while members[word] == 0:
        word -= ONE
    return np.int64((word << SIX) + _highest(members[word]))


@compiled
def _lowest(word: Any) -> Any:
    """Return the position of the lowest bit that is set; LLVM makes one instruction of it."""
    return _ones((word - ONE) & ~word)


@compiled
def _highest(word: Any) -> Any:
    """Return the position of the highest bit that is set; 0 if there is none."""
    word |= word >> ONE
    word |= word >> TWO
    word |= word >> FOUR
    word |= word >> EIGHT
    word |= word >> SIXTEEN
    word |= word >> HALF
    return _ones(word >> ONE)


@compiled
def _ones(word: Any) -> Any:
    """Count the bits that are set; one instruction again."""
    word -= (word >> ONE) & PAIRS
    word = (word & FOURS) + ((word >> TWO) & FOURS)
    word = (word + (word >> FOUR)) & EIGHTS
    return (word * BYTES) >> LAST_BYTE
