"""Compare a store with what was written: every byte of every file."""

from __future__ import annotations

import hashlib
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dask.system import CPU_COUNT

from calscipy.errors import StoreError, first_few
from calscipy.io.store.contents import Contents, place_of, read_contents, wrong_files
from calscipy.io.store.files import MANIFEST, METADATA
from calscipy.io.store.manifest import BadFile, Manifest, compare_sizes
from calscipy.io.store.places import Place
from calscipy.options import get_option

_THREADS = min(8, CPU_COUNT)  # checksums run at the speed of memory; more threads wait for it

_SMALL_BYTES = 2**22  # not worth several threads


@dataclass(frozen=True)
class Verification:
    """What `verify_store` found.

    Parameters
    ----------
    path : Path
        The store.
    files, nbytes : int
        Number and bytes of the files in it.
    bad : tuple of BadFile
        Those that are not as they were written, in the order of their paths.
    checksums : bool
        False for stores of the first schema: only names and sizes were looked at.
    seconds : float
        How long it took.
    """

    path: Path
    files: int
    nbytes: int
    bad: tuple[BadFile, ...]
    checksums: bool
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether every file is as it was written, as far as could be told."""
        return not self.bad

    def __str__(self) -> str:
        rate = self.nbytes / max(self.seconds, 1e-9) / 1e6
        size = f"{self.files} files, {self.nbytes} bytes, {self.seconds:.2f} s ({rate:.0f} MB/s)"
        if self.bad:
            return f"{self.path}: damaged: {first_few(self.bad, 10)}; {size}"
        if not self.checksums:
            return (
                f"{self.path}: no file is missing, but it was saved before calscipy kept "
                f"checksums: what is in the files cannot be verified; {size}"
            )
        return f"{self.path}: every file is as it was written; {size}"


def verify_store(path: str | os.PathLike[str], *, progress: bool | None = None) -> Verification:
    """Read every file of a store and compare it with the checksum from when it was written.

    Parameters
    ----------
    path : path
        The store, a folder or a zip file.
    progress : bool, optional
        Show a progress bar; the option ``progress`` by default.

    Returns
    -------
    Verification
        With every file that is missing, empty, cut, changed, swapped or not of the store.

    Raises
    ------
    StoreError
        If it is no store of ours, is incomplete, or its manifest is missing.

    Examples
    --------
    >>> import calscipy as cs
    >>> movie = cs.from_numpy(np.zeros((2, 4, 4), "uint16"), frame_rate=30)
    >>> store = movie.cs.to_zarr("movie.zarr", progress=False)
    >>> verify_store("movie.zarr", progress=False).ok
    True
    """
    place, started = place_of(path), time.perf_counter()

    def result(
        bad: list[BadFile], sizes: Mapping[str, int], checksums: bool = True
    ) -> Verification:
        seconds = time.perf_counter() - started
        return Verification(
            place.path, len(sizes), sum(sizes.values()), tuple(bad), checksums, seconds
        )

    try:
        manifest = place.manifest()
    except StoreError as error:
        return result([BadFile(MANIFEST, "manifest", str(error))], {})
    if manifest is None:
        contents = read_contents(place)
        return result(wrong_files(contents), contents.sizes, checksums=False)
    try:
        sizes = place.sizes()
    except StoreError as error:
        return result([BadFile(".", "link", str(error))], {})
    bad = compare_sizes(manifest, sizes)
    known = {file.path for file in bad}
    same = [name for name in manifest.sizes if name not in known]
    bad += _compare(place, manifest, same, progress)
    if not bad:
        try:
            bad = wrong_files(read_contents(place))
        except StoreError as error:  # all as written, but not by us
            bad = [BadFile(METADATA, "metadata", str(error))]
    return result(sorted(bad, key=lambda file: file.path), sizes)


def wrong_checksums(
    contents: Contents, names: Sequence[str] | None = None, *, progress: bool | None = False
) -> list[BadFile]:
    """Return the data files, all of them or some, whose checksums are not those of the manifest."""
    assert contents.manifest is not None
    chosen = list(contents.manifest.data) if names is None else list(names)
    return _compare(contents.place, contents.manifest, chosen, progress)


def _compare(
    place: Place, manifest: Manifest, names: Sequence[str], progress: bool | None
) -> list[BadFile]:
    """Compare the checksums of files that have the right size, in threads."""
    sizes, bad = manifest.sizes, []
    check = _checker(place, manifest)
    total = sum(sizes[name] for name in names)
    with (
        bytes_bar("verifying", total, progress) as bar,
        ThreadPoolExecutor(_THREADS if total > _SMALL_BYTES else 1) as pool,
    ):
        try:
            checks = pool.map(check, names) if total > _SMALL_BYTES else map(check, names)
            for name, flaw in checks:
                bar.update(sizes[name])
                if flaw is not None:
                    bad.append(flaw)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return bad


def bytes_bar(text: str, total: int, show: bool | None) -> Any:
    """Return a bar that counts bytes; it shows if the option ``progress`` says so for None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm complains in notebooks without ipywidgets
        from tqdm.auto import tqdm
    shown = get_option("progress") if show is None else show
    return tqdm(desc=text, total=total, unit="B", unit_scale=True, leave=False, disable=not shown)


def _checker(place: Place, manifest: Manifest) -> Callable[[str], tuple[str, BadFile | None]]:
    def check(name: str) -> tuple[str, BadFile | None]:
        try:
            if name in manifest.metadata:
                found = hashlib.sha256(place.read(name)).hexdigest()
                same = found == manifest.metadata[name].sha256
            else:
                same = place.checksum(name) == manifest.data[name].crc32c
        except OSError as error:
            return name, BadFile(name, "checksum", f"cannot be read: {error}")
        flaw = BadFile(name, "checksum", "changed after it was written")
        return name, None if same else flaw

    return check
