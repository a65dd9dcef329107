"""The compiled loops of `calscipy.kernels.oasis`.

A trace is modelled as ``y = b + c + noise``, where the calcium ``c`` of a sample is ``decay`` times
that of the sample before, plus a spike that is not negative. Calcium is found as pools: stretches
of samples that begin with a spike and then decay. A pool is kept as ``value`` and ``weight``, of
which the quotient is its calcium at its first sample, and as its number of samples.

``powers`` holds ``decay**l``. What follows the first valid sample of a row is worked on as float64,
less its mean, with NaN for missing samples.
"""

from __future__ import annotations

import math
from typing import Any

from calscipy.kernels.compiled import compiled, compiled_fast

SMALLEST = 1e-100  # power of the decay, below which it is 0: subnormal numbers are slow
PASSES = 50  # of fitting penalty and baseline; 4 are usual, and 14 the most of 100,000 traces
HALVINGS = 16  # of the interval that the smallest spike lies in; most fits of a baseline alone
TOLERANCE = 1e-7
SINGULAR = 1e-9  # share of the samples that tell the baseline from the calcium


@compiled
def deconvolve_row(
    y: Any,
    sigma: float,
    baseline: float,
    penalty: float,
    min_spike: float,
    spikes: bool,
    powers: Any,
    pools: Any,
    lengths: Any,
    out: Any,
) -> None:
    """Find the spikes of a row, or its baseline and calcium; ``y`` is worked on in place.

    ``baseline``, ``penalty`` and ``min_spike`` are NaN if they are to be found from the noise.
    ``pools`` (of two rows) and ``lengths`` are scratch, as long as the row.
    """
    first, mean = _centre(y)
    for t in range(first):
        out[t] = math.nan
    if first == len(y):
        return
    y, out = y[first:], out[first:]
    free = math.isnan(baseline)
    b, lam, smallest, target = baseline - mean, penalty, min_spike, sigma * sigma
    if free or math.isnan(penalty):
        b, lam = _constrained(y, target, b, powers, pools, lengths)
        if not math.isnan(penalty):
            lam = penalty
    if math.isnan(min_spike) or (min_spike > 0 and penalty == 0 and free):
        b, smallest = _sparse(y, target, b, free, min_spike, powers, pools, lengths)
    level = 0.0 if spikes else b + mean
    if math.isinf(lam):
        _write_silence(y, level, spikes, out)
        return
    count = _pool(y, b, lam, smallest, powers, pools, lengths)
    if spikes:
        _write_spikes(y, count, smallest, powers, pools, lengths, out)
    else:
        _write_calcium(count, level, smallest, powers, pools, lengths, out)


@compiled
def _centre(y: Any) -> Any:
    """Make infinities NaN and take off the mean; return the first valid sample and the mean."""
    count, total = _sum(y)
    mean = total / max(count, 1)
    for t in range(len(y)):
        y[t] = y[t] - mean if y[t] - y[t] == 0 else math.nan
    first = 0
    while first < len(y) and math.isnan(y[first]):
        first += 1
    return first, mean


@compiled_fast("reassoc")
def _sum(y: Any) -> Any:
    """Count and sum of the valid samples."""
    count, total = 0, 0.0
    for t in range(len(y)):
        valid = y[t] - y[t] == 0
        count += valid
        total += y[t] if valid else 0.0
    return count, total


@compiled
def fill_powers(decay: float, powers: Any) -> None:
    """Powers of the decay, from 0 on."""
    power = 1.0
    for k in range(len(powers)):
        powers[k] = power
        power *= decay
        if power < SMALLEST:
            power = 0.0


@compiled
def _pool(
    y: Any, b: float, penalty: float, min_spike: float, powers: Any, pools: Any, lengths: Any
) -> int:
    """Pool samples until each pool begins above the decayed one before; return how many there are.

    Every spike costs ``penalty``. In terms of calcium, this is ``penalty * (1 - decay)`` a sample,
    but ``penalty`` at the last one. A missing sample has this cost and no weight, so that it can
    not begin a pool. The last pool stays in registers until the next one begins.
    """
    values, weights = pools[0], pools[1]
    size = len(y)
    cost = penalty * (1 - powers[1])
    value = y[0] - b - (penalty if size == 1 else cost)
    weight, length, count = 1.0, 1, 0
    for t in range(1, size):
        if t == size - 1:
            cost = penalty
        sample = y[t] - b - cost
        power = powers[length]
        if math.isnan(sample):
            value -= cost * power
        elif value * power + min_spike * weight > sample * weight:
            value += sample * power
            weight += power * power
        else:
            values[count], weights[count], lengths[count] = value, weight, length
            count += 1
            value, weight, length = sample, 1.0, 1
            continue
        length += 1
        while count > 0:
            before, weight_before = values[count - 1], weights[count - 1]
            power = powers[lengths[count - 1]]
            if before * power * weight + min_spike * weight * weight_before <= (
                value * weight_before
            ):
                break
            count -= 1
            value = before + value * power
            weight = weight_before + weight * power * power
            length += lengths[count]
    values[count], weights[count], lengths[count] = value, weight, length
    return count + 1


@compiled
def _calcium(pool: int, min_spike: float, pools: Any) -> float:
    """Calcium at the first sample of a pool.

    Pools below zero are empty, so that a spike above them is as high as its pool. The first pool
    is calcium that was there before, not a spike.
    """
    calcium = pools[0, pool] / pools[1, pool]
    there = (calcium > 0) & ((pool == 0) | (calcium >= min_spike))
    return calcium if there else 0.0


@compiled
def _write_spikes(
    y: Any, count: int, min_spike: float, powers: Any, pools: Any, lengths: Any, out: Any
) -> None:
    for t in range(len(y)):
        out[t] = math.nan if math.isnan(y[t]) else 0.0
    start, left = 0, 0.0
    for pool in range(count):
        calcium = _calcium(pool, min_spike, pools)
        if pool > 0:
            out[start] = max(calcium - left, 0.0)
        left = calcium * powers[lengths[pool]]
        start += lengths[pool]


@compiled
def _write_calcium(
    count: int, level: float, min_spike: float, powers: Any, pools: Any, lengths: Any, out: Any
) -> None:
    start = 0
    for pool in range(count):
        calcium = _calcium(pool, min_spike, pools)
        for k in range(lengths[pool]):
            out[start + k] = level + calcium * powers[k]
        start += lengths[pool]


@compiled
def _write_silence(y: Any, level: float, spikes: bool, out: Any) -> None:
    for t in range(len(y)):
        out[t] = math.nan if spikes and math.isnan(y[t]) else level


@compiled
def _moments(y: Any) -> Any:
    """Count, sum, sum of squares, least and largest of the valid samples."""
    count, total, squares, low, high = 0, 0.0, 0.0, math.inf, -math.inf
    for t in range(len(y)):
        if not math.isnan(y[t]):
            count += 1
            total += y[t]
            squares += y[t] * y[t]
            low, high = min(low, y[t]), max(high, y[t])
    return count, total, squares, low, high


@compiled
def _sums(
    y: Any,
    complete: bool,
    b: float,
    penalty: float,
    min_spike: float,
    count: int,
    powers: Any,
    pools: Any,
    lengths: Any,
) -> Any:
    """Add up what the residual depends on, over the pools with calcium.

    The calcium of a pool is ``(v - b a - penalty q) / w``: v from the samples, a from the baseline
    and q from the penalty. Sums of vv/w, av/w, aa/w, aq/w, qq/w.
    """
    vv, av, aa, aq, qq, start = 0.0, 0.0, 0.0, 0.0, 0.0, 0
    for pool in range(count):
        length = lengths[pool]
        if _calcium(pool, min_spike, pools) > 0:
            q = 1.0 - powers[length] if pool < count - 1 else 1.0
            a = (1.0 - powers[length]) / (1.0 - powers[1])
            if not complete:
                a = 0.0
                for k in range(length):
                    if not math.isnan(y[start + k]):
                        a += powers[k]
            weight = pools[1, pool]
            v = pools[0, pool] + b * a + penalty * q
            vv += v * v / weight
            av += a * v / weight
            aa += a * a / weight
            aq += a * q / weight
            qq += q * q / weight
        start += length
    return vv, av, aa, aq, qq


@compiled
def _constrained(
    y: Any, target: float, baseline: float, powers: Any, pools: Any, lengths: Any
) -> Any:
    """Find baseline and penalty of the smallest sum of spikes within the noise.

    That is where the mean squared residual equals ``target`` and, if the baseline is free
    (NaN), the mean residual is 0. For given pools both are known in closed form (residuals are
    quadratic), so pooling and solving take turns until nothing changes. The baseline is kept
    between the least sample and the mean: below, every trace is a sum of spikes. A penalty of
    infinity means that no spikes are needed.
    """
    samples, total, squares, low, high = _moments(y)
    free = math.isnan(baseline)
    mean = total / samples
    b = mean if free else baseline
    target *= samples
    if high <= low and free:
        return b, math.inf
    if squares - 2 * b * total + samples * b * b <= target:
        return b, math.inf
    penalty, sigma = 0.0, math.sqrt(target / samples)
    for _ in range(PASSES):
        count = _pool(y, b, penalty, 0.0, powers, pools, lengths)
        complete = samples == len(y)
        vv, av, aa, aq, qq = _sums(y, complete, b, penalty, 0.0, count, powers, pools, lengths)
        if qq == 0:  # no calcium left
            if penalty == 0:
                return b, math.inf
            penalty /= 2
            b = mean if free else b
            continue
        rest, slope, curve = squares - vv, total - av, samples - aa
        new_b, new_penalty = b, penalty
        if free and curve <= SINGULAR * samples:
            new_b = (b + mean) / 2
        elif free:
            room = target - rest + slope * slope / curve
            new_penalty = math.sqrt(max(room, 0.0) / (aq * aq / curve + qq))
            new_b = min((slope + new_penalty * aq) / curve, mean)
        if not free or new_b < low:
            new_b = max(new_b, low) if free else b
            room = target - (rest - 2 * new_b * slope + new_b * new_b * curve)
            new_penalty = math.sqrt(max(room, 0.0) / qq)
        settled = abs(new_b - b) <= TOLERANCE * sigma
        settled &= abs(new_penalty - penalty) <= TOLERANCE * (new_penalty + sigma)
        b, penalty = new_b, new_penalty
        if settled:
            break
    return b, penalty


@compiled
def _sparse(
    y: Any,
    target: float,
    b: float,
    free: bool,
    min_spike: float,
    powers: Any,
    pools: Any,
    lengths: Any,
) -> Any:
    """Find baseline and smallest spike without a penalty.

    A free baseline is fitted to the pools in turns, as their calcium is not made smaller. The
    smallest spike, if it is not given (NaN), is the largest with residuals within the noise.
    """
    samples, total, squares, low, high = _moments(y)
    given = not math.isnan(min_spike)
    least, most = (min_spike, min_spike) if given else (0.0, high - low)
    kept = b  # the baseline that the smallest spike was accepted with
    for _ in range(HALVINGS):
        tried = (least + most) / 2
        count = _pool(y, b, 0.0, tried, powers, pools, lengths)
        complete = samples == len(y)
        vv, av, aa, _, _ = _sums(y, complete, b, 0.0, tried, count, powers, pools, lengths)
        rest, slope, curve = squares - vv, total - av, samples - aa
        if not given and rest - 2 * b * slope + b * b * curve <= target * samples:
            least, kept = tried, b
        elif not given:
            most = tried
        before = b
        if free and curve > SINGULAR * samples:
            b = min(max(slope / curve, low), total / samples)
        if given and abs(b - before) <= TOLERANCE * (high - low):
            break
    return (kept if least > 0 and not given else b), least


@compiled_fast("reassoc", "contract")
def dot(a: Any, b: Any) -> float:
    """Sum of products, in an order that does not depend on where the arrays lie in memory."""
    total = 0.0
    for t in range(len(a)):
        total += a[t] * b[t]
    return total
