"""Sessions as NWB files."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from calscipy import model
from calscipy.errors import ArgumentError, CalscipyWarning, StoreError, first_few, warn
from calscipy.io.groups import chosen_groups
from calscipy.io.hdf5 import Hdf5Blocks
from calscipy.io.nwb.content import Content, Fill, missing_rois
from calscipy.io.nwb.facts import collect
from calscipy.io.optional import optional
from calscipy.io.output import new_file, require_space
from calscipy.io.paths import local_path
from calscipy.io.raw_blocks import RawBlocks, write_blocks

SUFFIX = ".nwb"
_IMAGED = (model.MOVIE, model.TRACES, model.EVENTS)


def to_nwb(
    session: Any,
    path: str | os.PathLike[str],
    *,
    session_description: str | None = None,
    session_start_time: dt.datetime | str | None = None,
    timezone: str | dt.tzinfo | None = None,
    subject: Mapping[str, Any] | None = None,
    indicator: str | Mapping[str, str] | None = None,
    location: str | None = None,
    excitation_nm: float | Mapping[str, float] | None = None,
    emission_nm: float | Mapping[str, float] | None = None,
    identifier: str | None = None,
    session_id: str | None = None,
    experimenter: str | Sequence[str] | None = None,
    experiment_description: str | None = None,
    institution: str | None = None,
    lab: str | None = None,
    keywords: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    progress: bool | None = None,
) -> Path:
    """Write a session to an NWB file, validated before it gets its name.

    NWB demands facts that no microscope writes. What is missing is refused in one error that lists
    all of it; nothing is made up but the identifier.

    Parameters
    ----------
    session : ImagingSession or DataTree
        What to write.
    path : path
        The file, ending in ``.nwb``. It must not exist yet.
    session_description : str
        What was done in the session.
    session_start_time : datetime or str
        When it started (ISO text); by default what the recording tells. Time 0 of the session.
    timezone : str or tzinfo
        Time zone of a start that has none, such as ``"Europe/Zurich"``.
    subject : mapping
        Who was recorded: ``subject_id``, and ``species``, ``sex``, ``age`` (``"P90D"``),
        ``date_of_birth``, ``genotype``, ``strain``, ``weight``, ``description`` where known.
        Archives such as DANDI demand the first four.
    indicator : str or mapping
        What glows; of several channels by their names: ``{"Red": "jRGECO1a", "Green": ...}``.
    location : str
        Where was imaged.
    excitation_nm : float or mapping
        Wavelength of the laser in nm, of all channels or by their names; by default what the
        recording tells.
    emission_nm : float or mapping
        Wavelength of the emitted light in nm; of several channels by their names.
    identifier : str, optional
        Unique name of the session; a new UUID by default.
    session_id, experimenter, experiment_description, institution, lab, keywords : optional
        Further fields of NWB.
    groups : sequence of str, optional
        Groups to write; all of them by default.
    progress : bool, optional
        Show a progress bar; the option ``progress`` by default.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ArgumentError
        With the list of everything that is missing.
    MissingPackageError
        Without pynwb; it says how to install it.
    TargetExistsError
        If there is anything at ``path``.
    StoreError
        If it cannot be written, or is not valid. Nothing is left behind.

    Warns
    -----
    CalscipyWarning
        For variables that have no place in NWB, such as line scans, which are left out.

    Notes
    -----
    Movies are ``TwoPhotonSeries`` ``(frames, x, y [, plane])``, one for each channel; traces and
    what was made of them ``RoiResponseSeries`` ``(time, neuron)`` in ``Fluorescence`` (``dfof`` in
    ``DfOverF``; events, 0 and 1, beside these), ROIs a ``PlaneSegmentation`` with pixel or voxel
    masks, voltage ``TimeSeries``, stimuli, epochs and damaged frames time intervals. Timestamps
    are those of the session, comments the history. What NWB has no place for (other coordinates,
    nested attributes) stands as JSON in ``scratch/calscipy``, from which calscipy opens the same
    session.

    All values are computed in one dask graph and written uncompressed.

    Examples
    --------
    >>> import calscipy as cs
    >>> movie = cs.from_numpy(np.zeros((4, 8, 8), "u2"), frame_rate=30)
    >>> session = cs.ImagingSession(xr.DataTree()).assign(movie=movie)
    >>> to_nwb(session, "m12.nwb", location="V1", indicator="GCaMP6s", emission_nm=510)
    Traceback (most recent call last):
    ...
    calscipy.errors.ArgumentError: NWB demands what neither the recording nor the call tells:
    - session_description: ...
    """
    target = local_path(path)
    if target.suffix.lower() != SUFFIX:
        raise ArgumentError(f"to_nwb needs a file name that ends in .nwb, got {str(path)!r}.")
    tree = chosen_groups(session, groups, "to_nwb")
    imaging = any(group in tree.children for group in _IMAGED)
    further = {
        "session_id": session_id,
        "experimenter": experimenter,
        "experiment_description": experiment_description,
        "institution": institution,
        "lab": lab,
        "keywords": None if keywords is None else list(keywords),
    }
    facts = collect(
        tree,
        imaging=imaging,
        session_description=session_description,
        identifier=identifier,
        session_start_time=session_start_time,
        timezone=timezone,
        subject=subject,
        indicator=indicator,
        location=location,
        excitation_nm=excitation_nm,
        emission_nm=emission_nm,
        further=further,
        missing=missing_rois(tree),
    )
    pynwb = optional("pynwb", extra="nwb", purpose="NWB files")
    content = Content(tree, facts)
    _say_left_out(content)
    needed = sum(fill.values.size * fill.dtype.itemsize for fill in content.fills)
    with new_file(target) as temporary:
        require_space(target.parent, needed)
        with pynwb.NWBHDF5IO(temporary, "w") as io:
            io.write(content.file)
        _fill(temporary, content.fills, f"writing {target.name}", progress)
        # Against the schema that it was written by: to read the copy in the file takes longer.
        errors = pynwb.validate(path=temporary, use_cached_namespaces=False)
        if errors:
            raise StoreError(f"{target}: NWB's validator refuses the file: {first_few(errors, 5)}.")
    return target


def _say_left_out(content: Content) -> None:
    names = sorted("/".join(of) for of in content.left_out)
    if names:
        warn(
            f"to_nwb: NWB has no place for {first_few(names, 10)}, which is left out. Save the "
            "session (session.save) to keep all of it.",
            CalscipyWarning,
        )


def _fill(path: Path, fills: Sequence[Fill], text: str, progress: bool | None) -> None:
    """Compute all values in one graph and write them into the datasets made for them."""
    h5py = optional("h5py", extra="nwb", purpose="NWB files")
    targets: list[Any] = []
    with h5py.File(path, "r+") as file:
        for fill in fills:
            dataset = file[fill.dataset]
            if dataset.chunks is not None:
                targets.append(Hdf5Blocks(path, dataset))
                continue
            dataset[(-1,) * dataset.ndim] = 0  # HDF5 gives an array its place when it is written
            offset = dataset.id.get_offset()
            targets.append(RawBlocks(path, offset, dataset.shape, dataset.dtype))
    write_blocks([fill.values for fill in fills], targets, text, progress=progress)
