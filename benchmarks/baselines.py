"""Which baseline is nearest to the truth: errors of F₀ and of ΔF/F₀ for every method.

    python benchmarks/baselines.py [--neurons 40] [--duration 600]

Synthetic traces with a slow wave of F₀, bleaching and transients at three levels of noise, whose F₀
and ΔF/F₀ are known. Bias is the median over the samples of (F₀ - truth) / truth, and its mean over
the neurons; error is the root of the mean square of the same, and of ΔF/F₀ - truth.
"""

import argparse
import warnings
from typing import Any, NamedTuple, get_args

import numpy as np
import xarray as xr

import calscipy as cs
from calscipy.errors import BaselineWarning
from calscipy.ops.baseline import BaselineMethod
from calscipy.testing import synthetic_traces

FRAME_RATE = 30.0
SNRS = (3.0, 5.0, 10.0)
DRIFT, BLEACHING = 0.1, 0.3


class Scene(NamedTuple):
    """Traces of one kind."""

    name: str
    drift: float
    bleaching: float
    event_rate: float


SCENES = (
    Scene("steady, sparse activity", 0.0, 0.0, 0.05),
    Scene("drift and bleaching, sparse activity", DRIFT, BLEACHING, 0.05),
    Scene("drift and bleaching, dense activity", DRIFT, BLEACHING, 0.3),
)


def errors(truth: xr.Dataset, method: str) -> dict[str, float]:
    """Return bias and error of F₀ and the error of ΔF/F₀, as shares."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BaselineWarning)
        off = cs.baseline(truth.traces, method=method) / truth.f0 - 1
        ratio = cs.dfof(truth.traces, method=method)
    noise = truth.traces / truth.f0 - 1 - truth.dfof
    return {
        "bias": float(off.median("time").mean()),
        "f0": float(np.sqrt((off**2).mean())),
        "dfof": float(np.sqrt(((ratio - truth.dfof - noise) ** 2).mean())),
    }


def main(neurons: int = 40, duration: float = 600.0) -> list[dict[str, Any]]:
    """Measure every method on every kind of trace and print one table of each kind."""
    table = []
    for scene in SCENES:
        truths = [
            synthetic_traces(
                neurons,
                duration,
                FRAME_RATE,
                snr=snr,
                drift=scene.drift,
                bleaching=scene.bleaching,
                event_rate=scene.event_rate,
            )
            for snr in SNRS
        ]
        found = []
        for method in get_args(BaselineMethod):
            line: dict[str, Any] = {"scene": scene.name, "method": method}
            for snr, truth in zip(SNRS, truths, strict=True):
                line |= {f"{key} {snr:g}": value for key, value in errors(truth, method).items()}
            found.append(line)
        found.sort(key=lambda line: np.mean([line[f"dfof {snr:g}"] for snr in SNRS]))
        _show(scene, found)
        table += found
    return table


def _show(scene: Scene, lines: list[dict[str, Any]]) -> None:
    print(f"\n{scene.name} ({scene.event_rate:g} transients a second)\n")
    head = [f"{what}, SNR {snr:g}" for what in ("bias of F₀", "error of ΔF/F₀") for snr in SNRS]
    print(f"| method | {' | '.join(head)} |")
    print(f"|---|{'---:|' * len(head)}")
    for line in lines:
        shares = [f"{100 * line[f'bias {snr:g}']:+.1f} %" for snr in SNRS]
        shares += [f"{line[f'dfof {snr:g}']:.3f}" for snr in SNRS]
        print(f"| `{line['method']}` | {' | '.join(shares)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--neurons", type=int, default=40)
    parser.add_argument("--duration", type=float, default=600.0)
    given = parser.parse_args()
    main(given.neurons, given.duration)
