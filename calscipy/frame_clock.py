"""Frame times from recorded pulses, in place of those that the microscope's software computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import xarray as xr
from numpy.polynomial.polynomial import polyfit, polyval

from calscipy import model, trees
from calscipy.errors import ArgumentError, TimeAxisError, first_few
from calscipy.history import append, history_line
from calscipy.ops._frames import require_flags
from calscipy.ops.onsets import onsets

if TYPE_CHECKING:
    from calscipy.session import ImagingSession

Edge = Literal["rising", "falling"]


@dataclass(frozen=True)
class Mismatch:
    """Neighbouring frames without pulses, or pulses without frames.

    ``frame`` is the first frame that has no pulse, or the one after the pulses that have no
    frame; ``seconds`` is when it was taken or pulsed.
    """

    pulses_lack_frames: bool
    frame: int
    count: int
    seconds: float


def use_frame_clock(
    session: ImagingSession,
    signal: str,
    *,
    threshold: float,
    edge: Edge = "rising",
    hysteresis: float | None = None,
    minimum_interval: float | None = None,
    pulses_per_frame: int = 1,
    between: tuple[float, float] | None = None,
    even: bool = False,
) -> ImagingSession:
    """Return a session whose frames have the times of recorded pulses.

    Parameters
    ----------
    session : ImagingSession
        With a movie, or traces, and the group ``voltage``.
    signal : str
        Signal with the pulses of the frames.
    threshold : float
        In the units of the signal. Times are where a straight line between the samples on both
        sides crosses it: half the height of a pulse fits best.
    edge : {"rising", "falling"}, default "rising"
        Which edge of a pulse marks a frame.
    hysteresis, minimum_interval : float, optional
        Against noise, as in :func:`calscipy.onsets`.
    pulses_per_frame : int, default 1
        Pulses of a frame of the movie. In volumes: all planes, those of the flyback too; with
        at least as many as there are planes, ``plane_time`` is that of the pulses, in the order
        in which planes were taken, else planes keep their delay after the volume. Otherwise the
        first pulse of a frame counts.
    between : (float, float), optional
        Take the pulses between these times alone, in s: others come from scanning before or
        after the recording.
    even : bool, default False
        Put the frames of each epoch on the straight line that fits their pulses best, from which
        no pulse may be further than one sample of the recording. For signals that were sampled
        so coarsely that even frames look uneven: at 1 kHz, steps of 33 and 34 ms differ by 3 %,
        which operations that need a frame rate refuse.

    Returns
    -------
    ImagingSession
        Time 0 is the first frame still: the times of voltage and stimuli move with it. Traces
        and events have the new times as well. ``time.attrs["clock"]`` names the signal.

    Raises
    ------
    ArgumentError
        If there are more or fewer pulses than frames, naming both numbers and the frames where
        one of them is missing, or as many at other places. If traces or events have other times
        than the movie. With ``even``, if frames are uneven by more than the sampling explains.

    Examples
    --------
    >>> import calscipy as cs
    >>> traces = cs.from_numpy(np.zeros((1, 3)), frame_rate=10)
    >>> volts = np.array([[0, 5, 0, 0, 5, 0, 5, 0.0]])
    >>> recorded = cs.from_numpy(volts, dims=("signal", "time"), frame_rate=20)
    >>> groups = {"traces": traces.to_dataset(name="traces")}
    >>> groups["voltage"] = recorded.assign_coords(signal=["Frame"]).to_dataset(name="voltage")
    >>> session = cs.ImagingSession(xr.DataTree.from_dict(groups))
    >>> use_frame_clock(session, "Frame", threshold=2.5).traces.time.values.round(3).tolist()
    [0.0, 0.15, 0.25]
    """
    if edge not in get_args(Edge):
        raise ArgumentError(f"use_frame_clock(edge=) must be one of {get_args(Edge)}, got {edge!r}")
    is_whole = isinstance(pulses_per_frame, int) and not isinstance(pulses_per_frame, bool)
    if not is_whole or pulses_per_frame < 1:
        raise ArgumentError(
            "use_frame_clock needs pulses_per_frame as a whole number from 1 on, got "
            f"{pulses_per_frame!r}"
        )
    require_flags("use_frame_clock", even=even)
    tree = session.tree
    group = model.MOVIE if model.MOVIE in tree.children else model.TRACES
    frames = trees.variable(tree, group, group)
    computed = model.seconds(frames, "use_frame_clock")
    recorded = trees.variable(tree, model.VOLTAGE, model.VOLTAGE)
    pulses = onsets(
        recorded,
        threshold=threshold,
        edge=edge,
        signal=signal,
        hysteresis=hysteresis,
        minimum_interval=minimum_interval,
        interpolate=True,
    ).values
    if between is not None:
        pulses = pulses[(pulses >= between[0]) & (pulses <= between[1])]
    _require_same(_expected(computed, pulses_per_frame), pulses, pulses_per_frame, signal)
    clock = pulses.reshape(len(computed), pulses_per_frame)
    if even:
        sampling = float(np.median(np.diff(model.seconds(recorded, "use_frame_clock"))))
        clock = _straightened(clock, model.epochs(frames), sampling)
    arguments = {
        "signal": signal,
        "threshold": threshold,
        "edge": edge,
        "hysteresis": hysteresis,
        "minimum_interval": minimum_interval,
        "pulses_per_frame": pulses_per_frame,
        "between": between,
        "even": even,
    }
    line = history_line("use_frame_clock", arguments)
    return type(session)(_with_clock(tree, group, frames, clock, signal, line))


def _expected(computed: np.ndarray, pulses_per_frame: int) -> np.ndarray:
    """Return when pulses come by the computed times, evenly spaced within a frame."""
    if len(computed) < 2:
        raise TimeAxisError(f"use_frame_clock needs at least two frames, found {len(computed)}.")
    share = np.arange(pulses_per_frame) / pulses_per_frame
    return np.add.outer(computed, float(np.median(np.diff(computed))) * share).ravel()


def _require_same(
    expected: np.ndarray, pulses: np.ndarray, pulses_per_frame: int, signal: str
) -> None:
    """Raise unless there is one pulse where each is expected, up to offset and drift."""
    half = 0.5 * float(np.median(np.diff(expected)))
    if len(expected) == len(pulses) and (np.abs(np.diff(expected) - np.diff(pulses)) <= half).all():
        return
    frames = len(expected) // pulses_per_frame
    wanted = f"the movie has {frames} frames"
    if pulses_per_frame > 1:
        wanted += f" of {pulses_per_frame} pulses, {len(expected)}"
    if not len(pulses):
        raise ArgumentError(
            f"use_frame_clock: {wanted}, but the signal {signal!r} never crosses the threshold. "
            "Look at it (session.voltage.sel(signal=...)) and choose another threshold."
        )
    found = mismatches(expected, pulses)
    longest = sorted(found, key=lambda one: -one.count)
    places = first_few([_told(one, pulses_per_frame, frames) for one in longest], 3)
    start, end = pulses[0], pulses[-1]
    raise ArgumentError(
        f"use_frame_clock: {wanted}, but {signal!r} has {len(pulses)} pulses (from {start:g} to "
        f"{end:g} s). By their intervals: {places}. Check threshold=, hysteresis= and "
        "minimum_interval=; leave pulses outside of the recording out with between=(start, end), "
        "or frames without pulses with session.sel(time=slice(...)), or keep the computed times."
    )


def _told(one: Mismatch, pulses_per_frame: int, frames: int) -> str:
    """Describe a mismatch with the numbers of its frames, from 0."""
    first = one.frame // pulses_per_frame
    when = f"at {one.seconds:g} s"
    if one.pulses_lack_frames:
        if one.frame == 0:
            place = "before the first frame"
        elif first == frames:
            place = "after the last frame"
        else:
            place = f"between frames {(one.frame - 1) // pulses_per_frame} and {first}"
        return f"{one.count} pulses {place} have no frame ({when})"
    last = (one.frame + one.count - 1) // pulses_per_frame
    numbers = f"frames {first} to {last} have" if last > first else f"frame {first} has"
    lacking = f"no pulse ({when})" if pulses_per_frame == 1 else f"{one.count} pulses less ({when})"
    return f"{numbers} {lacking}"


def mismatches(expected: np.ndarray, pulses: np.ndarray) -> list[Mismatch]:
    """Find where frames or pulses are missing, by aligning the intervals between them.

    Parameters
    ----------
    expected : ndarray, shape (frames,)
        Computed times of the frames in s.
    pulses : ndarray, shape (pulses,)
        Times of the pulses in s, on a clock that may be shifted and drift.

    Returns
    -------
    list of Mismatch
        In the order of time. The first frame goes with the first pulse, or with the pulse that
        comes nearest to it, whichever leaves fewer frames and pulses alone.

    Examples
    --------
    >>> mismatches(np.arange(6.0), np.array([0.0, 1.0, 4.0, 5.0]))
    [Mismatch(pulses_lack_frames=False, frame=2, count=2, seconds=2.0)]
    """
    half = 0.5 * float(np.median(np.diff(expected)))
    starts = [(0, 0)]
    near = (
        int(np.searchsorted(expected, pulses[0] - half)),
        int(np.searchsorted(pulses, expected[0] - half)),
    )
    if near != (0, 0) and near[0] < len(expected) and near[1] < len(pulses):
        starts.insert(0, near)
    walks = [_walk(expected, pulses, half, *start) for start in starts]
    return min(walks, key=lambda walk: sum(one.count for one in walk))


def _walk(
    expected: np.ndarray, pulses: np.ndarray, half: float, frame: int, pulse: int
) -> list[Mismatch]:
    """Go along frames and pulses together; a longer interval of one means that it lacks some."""
    found = []
    if frame:
        found.append(Mismatch(False, 0, frame, float(expected[0])))
    if pulse:
        found.append(Mismatch(True, 0, pulse, float(pulses[0])))
    last_frame, last_pulse = len(expected) - 1, len(pulses) - 1
    while frame < last_frame and pulse < last_pulse:
        wait = expected[frame + 1] - expected[frame]
        pause = pulses[pulse + 1] - pulses[pulse]
        if abs(wait - pause) <= half:
            frame, pulse = frame + 1, pulse + 1
        elif pause > wait:
            reached = int(np.searchsorted(expected, expected[frame] + pause - half))
            lacking = min(reached, len(expected)) - frame - 1
            if lacking:
                where = float(expected[frame + 1])
                found.append(Mismatch(False, frame + 1, lacking, where))
            frame, pulse = frame + lacking + 1, pulse + 1
        else:
            reached = int(np.searchsorted(pulses, pulses[pulse] + wait - half))
            lacking = min(reached, len(pulses)) - pulse - 1
            if lacking:
                found.append(Mismatch(True, frame + 1, lacking, float(pulses[pulse + 1])))
            frame, pulse = frame + 1, pulse + lacking + 1
    if frame < last_frame:
        where = float(expected[frame + 1])
        found.append(Mismatch(False, frame + 1, last_frame - frame, where))
    if pulse < last_pulse:
        where = float(pulses[pulse + 1])
        found.append(Mismatch(True, last_frame + 1, last_pulse - pulse, where))
    return found


def _straightened(clock: np.ndarray, epochs: list[slice], sampling: float) -> np.ndarray:
    """Put the pulses of each epoch on straight lines over the numbers of the frames."""
    even = clock.copy()
    for epoch in epochs:
        pulses = clock[epoch]
        if len(pulses) > 2:
            frame = np.arange(len(pulses)) - len(pulses) / 2
            even[epoch] = polyval(frame, polyfit(frame, pulses, 1)).T
    off = np.abs(even - clock).max(axis=1)
    worst = int(np.argmax(off))
    if off[worst] > sampling:
        raise ArgumentError(
            f"use_frame_clock(even=True): the pulse of frame {worst} is {off[worst]:.3g} s away "
            f"from a straight line, but the signal was sampled every {sampling:.3g} s. The frames "
            "are uneven. Leave even out to keep the times of the pulses."
        )
    return even


def _with_clock(
    tree: xr.DataTree,
    group: str,
    frames: xr.DataArray,
    clock: np.ndarray,
    signal: str,
    line: str,
) -> xr.DataTree:
    """Put the new times into every group."""
    old = model.coordinate(frames, model.TIME)
    zero = float(clock[0, 0])
    changed = {}
    for name, node in tree.children.items():
        dataset = node.to_dataset()
        if name not in (model.MOVIE, model.TRACES, model.EVENTS):
            found = _moved(dataset, zero)
        elif model.TIME not in dataset.coords:
            continue
        elif np.array_equal(dataset[model.TIME].values, old):
            times = dataset[model.TIME]
            attrs = times.attrs | {model.CLOCK_ATTR: f"pulses of {signal}"}
            found = {model.TIME: xr.Variable(times.dims, clock[:, 0] - zero, attrs)}
            if model.PLANE_TIME in dataset.coords:
                planes = dataset[model.PLANE_TIME]
                found[model.PLANE_TIME] = _plane_times(planes, old, clock, zero)
        else:
            raise ArgumentError(
                f"use_frame_clock: {name!r} has other times than {group!r}. Take the frame clock "
                "before binning or resampling."
            )
        if found:
            changed[name] = _replaced(dataset, found, line)
    return trees.rebuilt(tree, changed)


def _moved(dataset: xr.Dataset, zero: float) -> dict[str, xr.Variable]:
    """Return the times of a group with a clock of its own, counted from the new first frame."""
    return {
        word: xr.Variable(dataset[word].dims, dataset[word].values - zero, dataset[word].attrs)
        for word in (model.TIME, model.ONSET)
        if word in dataset.variables and dataset[word].dtype.kind == "f"
    }


def _plane_times(
    planes: xr.DataArray, old: np.ndarray, clock: np.ndarray, zero: float
) -> xr.Variable:
    """Return the times of the planes of volumes."""
    ordered = planes.variable.transpose(model.FRAMES, ...)
    times = np.asarray(ordered.values, np.float64)
    if clock.shape[1] == 1 or times.ndim == 1:
        by_frame = clock[:, 0] - old
        new = times + by_frame.reshape(-1, *(1,) * (times.ndim - 1))
        return xr.Variable(ordered.dims, new - zero, ordered.attrs)
    if clock.shape[1] < times.shape[1]:
        raise ArgumentError(
            f"use_frame_clock: a volume has {times.shape[1]} planes; pulses_per_frame must be 1 or "
            f"at least {times.shape[1]}, got {clock.shape[1]}."
        )
    # Planes that are scanned up and down in turn come in the order of their computed times.
    rank = np.argsort(np.argsort(times, axis=1), axis=1)  # NaN last: planes not acquired
    new = np.where(np.isnan(times), np.nan, np.take_along_axis(clock, rank, axis=1))
    return xr.Variable(ordered.dims, new - zero, ordered.attrs)


def _replaced(dataset: xr.Dataset, found: dict[str, xr.Variable], line: str) -> xr.Dataset:
    """Return a dataset with other times, and a line more in the history of its variables."""
    coords = {name: own for name, own in found.items() if name in dataset.coords}
    others = {name: own for name, own in found.items() if name not in dataset.coords}
    result = dataset.assign_coords(coords).assign(others)
    return result.assign(
        {
            name: array.assign_attrs(history=append(array.attrs.get("history"), line))
            for name, array in result.data_vars.items()
        }
    )
