"""Compiled loops of anisotropic diffusion along rows."""

import numpy as np

from calscipy.kernels.compiled import compiled_fast

LOG2_E = np.float32(1.4426950408889634)
ROUND = np.float32(1.5 * 2**23)  # added and subtracted, it rounds a float32 to a whole number
LEAST = np.float32(-126.0)  # 2 to this is the smallest normal float32
# 2**f for f from -0.5 to 0.5, relative error 2e-7
C1, C2, C3, C4, C5 = np.array([0.693147, 0.2402212, 0.05550713, 0.00967554, 0.00132765], "f4")
ONE, BIAS, MANTISSA = np.float32(1), np.int32(127), np.int32(23)


@compiled_fast("contract")
def flow_fast(u, link, scale, bits, power, flow):  # type: ignore[no-untyped-def]
    """Flow between neighbours, ``d exp(-(scale d)²)``, in float32 by vector instructions.

    The exponential is 2 to the power of a whole number, made of bits (``power`` is a view of
    them), times that of a fraction, made by a polynomial. The library's goes sample by sample.
    """
    after = u[1:]
    for i in range(link.size):
        d = np.float32(after[i] - u[i])
        z = d * scale
        exponent = max(-(z * z) * LOG2_E, LEAST)
        whole = (exponent + ROUND) - ROUND
        f = exponent - whole
        bits[i] = (np.int32(whole) + BIAS) << MANTISSA
        p = ((((C5 * f + C4) * f + C3) * f + C2) * f + C1) * f + ONE
        flow[i] = link[i] * d * p
    for i in range(link.size):
        flow[i] *= power[i]


@compiled_fast("contract")
def flow_exact(u, link, scale, flow):  # type: ignore[no-untyped-def]
    """Flow between neighbours, ``d exp(-(scale d)²)``, in float64."""
    for i in range(link.size):
        d = u[i + 1] - u[i]
        z = d * scale
        flow[i] = link[i] * d * np.exp(-z * z)


@compiled_fast("contract")
def diffuse(rows, level, scale, iterations, gamma, tile, out):  # type: ignore[no-untyped-def]
    """Diffuse each row, a tile and the samples that reach into it at a time.

    ``level`` is subtracted from each row meanwhile, for the digits; ``scale`` is 1 / kappa, 0 for
    rows that stay as they are. Samples that are not finite stay as well: no flow enters them, nor
    leaves the ends of a row.
    """
    number, samples = rows.shape
    length = min(samples, tile + 2 * iterations)
    u_all, link_all = np.zeros(length, rows.dtype), np.zeros(length, rows.dtype)
    flow_all = np.zeros(length + 1, rows.dtype)
    bits = np.zeros(length, np.int32)
    power = bits.view(np.float32)
    for row in range(number):
        if scale[row] == 0:
            out[row] = rows[row]
            continue
        for start in range(0, samples, tile):
            stop = min(samples, start + tile)
            low, high = max(0, start - iterations), min(samples, stop + iterations)
            size = high - low
            some, u, link = rows[row, low:high], u_all[:size], link_all[: size - 1]
            flow = flow_all[: size + 1]
            for i in range(size):
                u[i] = some[i] - level[row] if np.isfinite(some[i]) else 0
            for i in range(size - 1):
                link[i] = np.isfinite(some[i]) and np.isfinite(some[i + 1])
            flow[size] = 0
            inner, after = flow[1:size], flow[1:]
            for _ in range(iterations):
                if rows.itemsize == 4:
                    flow_fast(u, link, scale[row], bits, power, inner)
                else:
                    flow_exact(u, link, scale[row], inner)
                for i in range(size):
                    u[i] += gamma[0] * (after[i] - flow[i])
            target, first = out[row, start:stop], start - low
            for i in range(stop - start):
                value = some[first + i]
                target[i] = u[first + i] + level[row] if np.isfinite(value) else value
