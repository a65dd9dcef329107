"""Compiled loops over frames that are moved by fractions of a pixel.

In one file, because they call each other: numba keeps compiled code on disk for as long as the
file of the loop that is called stays the same, and does not look at the files of those inside.
"""

import numpy as np

from calscipy.kernels.compiled import compiled, compiled_fast

OUTLIER = 4.7  # standard deviations at which a residual counts no more (Tukey's biweight)


@compiled
def interpolation_weights(share: float, cubic: bool, weights: np.ndarray) -> None:
    """Weights of the samples at -1, 0, 1, 2 for a point ``share`` of the way from 0 to 1.

    Those of 0 must not be used: 0 times NaN is NaN.
    """
    rest = 1 - share
    if cubic:
        weights[0] = -0.5 * share * rest * rest
        weights[1] = 1 + share * share * (1.5 * share - 2.5)
        weights[2] = 1 + rest * rest * (1.5 * rest - 2.5)
        weights[3] = -0.5 * rest * share * share
    else:
        weights[0], weights[1], weights[2], weights[3] = 0, rest, share, 0


@compiled
def move_line(
    line: np.ndarray, shift: float, empty: bool, cubic: bool, padded: np.ndarray, out: np.ndarray
) -> None:
    """Move one line by ``shift`` samples to the left; ``padded`` is 3 samples longer than it."""
    size = line.shape[0]
    whole = int(np.floor(shift))
    share = shift - whole
    first = min(max(0, -whole), size)  # [first, last) is what lies inside of the line
    last = max(min(size, size - whole - (share > 0)), first)
    if share == 0:
        out[first:last] = line[first + whole : last + whole]
    else:
        weights = np.empty(4, line.dtype)
        interpolation_weights(share, cubic, weights)
        padded[0] = line[0]
        padded[1 : size + 1] = line
        padded[size + 1 :] = line[size - 1]
        near, target = padded[first + whole :], out[first:last]
        one, two, three = near[1:], near[2:], near[3:]
        if cubic:
            for at in range(last - first):
                target[at] = (
                    weights[0] * near[at]
                    + weights[1] * one[at]
                    + weights[2] * two[at]
                    + weights[3] * three[at]
                )
        else:
            for at in range(last - first):
                target[at] = weights[1] * one[at] + weights[2] * two[at]
    out[:first] = np.nan if empty else line[0]
    out[last:] = np.nan if empty else line[size - 1]


@compiled
def move_frame(
    image: np.ndarray, y: float, x: float, empty: bool, cubic: bool, out: np.ndarray
) -> None:
    """Move one frame: along y into a line, then along x."""
    rows, columns = image.shape
    whole = int(np.floor(y))
    share = y - whole
    weights = np.empty(4, image.dtype)
    interpolation_weights(share, cubic, weights)
    line = np.empty(columns, image.dtype)
    padded = np.empty(columns + 3, image.dtype)
    for row in range(rows):
        low = row + whole
        inside = low >= 0 and (low < rows - 1 or (low == rows - 1 and share == 0))
        if empty and not inside:
            out[row] = np.nan
            continue
        if not inside or share == 0:
            line[:] = image[min(max(low, 0), rows - 1)]
        else:
            before, one = image[max(low - 1, 0)], image[low]
            two, after = image[low + 1], image[min(low + 2, rows - 1)]
            if cubic:
                for at in range(columns):
                    line[at] = (
                        weights[0] * before[at]
                        + weights[1] * one[at]
                        + weights[2] * two[at]
                        + weights[3] * after[at]
                    )
            else:
                for at in range(columns):
                    line[at] = weights[1] * one[at] + weights[2] * two[at]
        move_line(line, x, empty, cubic, padded, out[row])


@compiled
def move_odd_lines(image: np.ndarray, offset: float, empty: bool, first: int) -> None:
    """Move the odd lines of one frame in place, from the line ``first`` on."""
    columns = image.shape[1]
    line = np.empty(columns, image.dtype)
    padded = np.empty(columns + 3, image.dtype)
    for row in range(first, image.shape[0], 2):
        line[:] = image[row]
        move_line(line, offset, empty, True, padded, image[row])


@compiled_fast("contract", "reassoc")
def filter_at(
    image: np.ndarray, y: float, x: float, filters: np.ndarray, edge: int, totals: np.ndarray
) -> None:
    """Sum the filters times the frame moved back by ``(y, x)``, over the core of the image."""
    _, rows, columns = filters.shape
    up, left = int(np.floor(y)), int(np.floor(x))
    across, down = np.empty(4, np.float32), np.empty(4, np.float32)
    interpolation_weights(y - up, True, down)
    interpolation_weights(x - left, True, across)
    line = np.empty(columns + 3, np.float32)
    totals[:] = 0
    for row in range(rows):
        top, start = edge + up - 1 + row, edge + left - 1
        one, two = image[top, start:], image[top + 1, start:]
        three, four = image[top + 2, start:], image[top + 3, start:]
        for at in range(columns + 3):
            line[at] = (
                down[0] * one[at] + down[1] * two[at] + down[2] * three[at] + down[3] * four[at]
            )
        line1, line2, line3 = line[1:], line[2:], line[3:]
        gain, along = filters[0, row], filters[1, row]
        aside, search = filters[2, row], filters[3, row]
        sum0, sum1, sum2, sum3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
        for at in range(columns):
            value = (
                across[0] * line[at]
                + across[1] * line1[at]
                + across[2] * line2[at]
                + across[3] * line3[at]
            )
            sum0 += value * gain[at]
            sum1 += value * along[at]
            sum2 += value * aside[at]
            sum3 += value * search[at]
        totals[0] += sum0
        totals[1] += sum1
        totals[2] += sum2
        totals[3] += sum3


@compiled_fast("contract", "reassoc")
def residuals(
    image: np.ndarray,
    y: float,
    x: float,
    exact: np.ndarray,
    weight: np.ndarray,
    gain: float,
    light: np.ndarray,
    edge: int,
    out: np.ndarray,
) -> None:
    """Subtract template and illumination from the frame moved back by ``(y, x)``."""
    rows, columns = out.shape
    up, left = int(np.floor(y)), int(np.floor(x))
    across, down = np.empty(4, np.float32), np.empty(4, np.float32)
    interpolation_weights(y - up, True, down)
    interpolation_weights(x - left, True, across)
    line = np.empty(columns + 3, np.float32)
    factor = np.float32(gain)
    for row in range(rows):
        top, start = edge + up - 1 + row, edge + left - 1
        one, two = image[top, start:], image[top + 1, start:]
        three, four = image[top + 2, start:], image[top + 3, start:]
        for at in range(columns + 3):
            line[at] = (
                down[0] * one[at] + down[1] * two[at] + down[2] * three[at] + down[3] * four[at]
            )
        line1, line2, line3 = line[1:], line[2:], line[3:]
        known, kept, target = exact[row + 1, 1:], weight[row], out[row]
        v = 2.0 * row / (rows - 1) - 1.0
        level = np.float32(light[0] + v * light[3] + v * v * light[5])
        tilt, bend = np.float32(light[1] + v * light[4]), np.float32(light[2])
        scale = np.float32(2.0 / (columns - 1))
        for at in range(columns):
            u = np.float32(at) * scale - np.float32(1)
            value = (
                across[0] * line[at]
                + across[1] * line1[at]
                + across[2] * line2[at]
                + across[3] * line3[at]
            )
            fit = factor * known[at] + level + u * (tilt + u * bend)
            target[at] = kept[at] * (value - fit)


@compiled_fast("contract", "reassoc")
def smooth_residuals(image: np.ndarray, out: np.ndarray) -> None:
    """Average 5 x 5 pixels; beyond the edge, the edge repeats."""
    rows, columns = image.shape
    line = np.empty(columns + 4, np.float32)
    part = np.float32(1 / 25)
    line1, line2, line3, line4 = line[1:], line[2:], line[3:], line[4:]
    for row in range(rows):
        one, two = image[max(row - 2, 0)], image[max(row - 1, 0)]
        three = image[row]
        four, five = image[min(row + 1, rows - 1)], image[min(row + 2, rows - 1)]
        for at in range(columns):
            line2[at] = one[at] + two[at] + three[at] + four[at] + five[at]
        line[:2] = line[2]
        line[columns + 2 :] = line[columns + 1]
        target = out[row]
        for at in range(columns):
            target[at] = part * (line[at] + line1[at] + line2[at] + line3[at] + line4[at])


@compiled_fast("contract", "reassoc")
def weighted_sums(
    residual: np.ndarray,
    smooth: np.ndarray,
    filters: np.ndarray,
    exact: np.ndarray,
    weight: np.ndarray,
    noise: np.ndarray,
    sums: np.ndarray,
    matrix: np.ndarray,
) -> None:
    """Sum filters and polynomials of the illumination times the weighted residuals.

    ``matrix`` is what the filters make of gain and gradients: without weights, that of identity.
    """
    rows, columns = residual.shape
    sums[:] = 0
    matrix[:] = 0
    everything = np.isinf(noise[0])
    share = np.empty(columns, np.float32)
    reach = np.float32(OUTLIER * OUTLIER)
    base, slope, least = np.float32(noise[0]), np.float32(noise[1]), np.float32(noise[2])
    tiny = np.float32(1e-37)
    scale = np.float32(2.0 / (columns - 1))
    for row in range(rows):
        here, kept = exact[row + 1, 1:], weight[row]
        before, after = exact[row + 1], exact[row + 1, 2:]
        above, below = exact[row, 1:], exact[row + 2, 1:]
        gain, along, aside = filters[0, row], filters[1, row], filters[2, row]
        away, left = smooth[row], residual[row]
        if everything:
            share[:] = 1
        else:
            for at in range(columns):
                variance = max(base + slope * here[at], least)
                far = away[at] * away[at] / (reach * variance + tiny)
                rest = max(np.float32(1) - far, np.float32(0))
                share[at] = kept[at] * rest * rest
        sum0, sum1, sum2 = np.float32(0), np.float32(0), np.float32(0)
        light0, light1, light2 = np.float32(0), np.float32(0), np.float32(0)
        gain0, gain1, gain2 = np.float32(0), np.float32(0), np.float32(0)
        along0, along1, along2 = np.float32(0), np.float32(0), np.float32(0)
        aside0, aside1, aside2 = np.float32(0), np.float32(0), np.float32(0)
        half = np.float32(0.5)
        for at in range(columns):
            part = share[at]
            value = part * left[at]
            u = np.float32(at) * scale - np.float32(1)
            light0 += value
            light1 += value * u
            light2 += value * u * u
            sum0 += value * gain[at]
            sum1 += value * along[at]
            sum2 += value * aside[at]
            level = part * here[at]
            down, right = (
                part * half * (below[at] - above[at]),
                part * half * (after[at] - before[at]),
            )
            gain0 += gain[at] * level
            gain1 += gain[at] * down
            gain2 += gain[at] * right
            along0 += along[at] * level
            along1 += along[at] * down
            along2 += along[at] * right
            aside0 += aside[at] * level
            aside1 += aside[at] * down
            aside2 += aside[at] * right
        v = 2.0 * row / (rows - 1) - 1.0
        sums[0] += sum0
        sums[1] += sum1
        sums[2] += sum2
        sums[3] += light0
        sums[4] += light1
        sums[5] += light2
        sums[6] += v * light0
        sums[7] += v * light1
        sums[8] += v * v * light0
        matrix[0, 0] += gain0
        matrix[0, 1] += gain1
        matrix[0, 2] += gain2
        matrix[1, 0] += along0
        matrix[1, 1] += along1
        matrix[1, 2] += along2
        matrix[2, 0] += aside0
        matrix[2, 1] += aside1
        matrix[2, 2] += aside2


@compiled
def window_variance(image: np.ndarray, margin: int, limit: int, out: np.ndarray) -> None:
    """Variance times size of the core of the image, moved by every shift up to ``limit``."""
    rows, columns = image.shape
    tall, wide = rows - 2 * (margin + limit), columns - 2 * (margin + limit)
    count = 2 * limit + 1
    sums, squares = np.zeros((rows, count)), np.zeros((rows, count))
    for row in range(rows):
        line = image[row, margin:]
        total, square = 0.0, 0.0
        for at in range(wide):
            value = np.float64(line[at])
            total += value
            square += value * value
        for lag in range(count):
            sums[row, lag], squares[row, lag] = total, square
            old, new = np.float64(line[lag]), np.float64(line[min(lag + wide, line.shape[0] - 1)])
            total += new - old
            square += new * new - old * old
    for lag in range(count):
        total, square = 0.0, 0.0
        for row in range(margin, margin + tall):
            total += sums[row, lag]
            square += squares[row, lag]
        for move in range(count):
            out[move, lag] = square - total * total / (tall * wide)
            first, after = margin + move, min(margin + move + tall, rows - 1)
            total += sums[after, lag] - sums[first, lag]
            square += squares[after, lag] - squares[first, lag]
