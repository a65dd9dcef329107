"""Put a finished store into one zip file, to carry it or to hand it on.

Never a save into a zip: several dask threads writing through zarr's ZipStore leave a corrupt file.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import google_crc32c

from calscipy.errors import ArgumentError, StoreError, first_few
from calscipy.io.output import new_file, require_space
from calscipy.io.paths import local_path
from calscipy.io.store.archive import BLOCK, SUFFIX, Archive
from calscipy.io.store.contents import Contents, place_of, read_contents, wrong_files
from calscipy.io.store.files import MANIFEST, is_metadata
from calscipy.io.store.manifest import encode
from calscipy.io.store.opening import require_whole
from calscipy.io.store.places import Folder
from calscipy.io.store.verify import bytes_bar, wrong_checksums

_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip knows: the same store makes the same file
_PER_FILE = 256  # bytes that a zip takes for every file beside its content
_MODE = 0o644 << 16  # of the files, once they are unpacked


def to_zip(
    store: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    progress: bool | None = None,
) -> Path:
    """Put a store into one zip file, which ``ImagingSession.open`` reads without unpacking it.

    Nothing is compressed a second time. Checksums are compared on the way and once more in the zip,
    before it gets its name.

    Parameters
    ----------
    store : path
        The folder of a store.
    target : path
        The file, whose name ends in ``.zip`` and which does not exist yet.
    progress : bool, optional
        Show a progress bar; the option ``progress`` by default.

    Returns
    -------
    Path
        The zip file.

    Raises
    ------
    TargetExistsError
        If there is anything at ``target``.
    StoreError
        If the store is none of ours, incomplete or damaged, or the disk has no room.

    Examples
    --------
    >>> import calscipy as cs
    >>> movie = cs.from_numpy(np.zeros((2, 4, 4), "uint16"), frame_rate=30)
    >>> store = movie.cs.to_zarr("m.zarr", progress=False)
    >>> to_zip("m.zarr", "m.zarr.zip", progress=False).name
    'm.zarr.zip'
    """
    target = local_path(target)
    if target.suffix.lower() != SUFFIX:
        raise ArgumentError(f"{target}: the name of a zip file ends in {SUFFIX!r}.")
    place = place_of(store)
    if not isinstance(place, Folder):
        raise StoreError(f"{store}: a zip file already. Copy it, or name the folder of a store.")
    contents = read_contents(place)
    require_whole(contents)
    with new_file(target) as temporary:
        sizes = contents.sizes
        require_space(temporary.parent, sum(sizes.values()) + _PER_FILE * len(sizes))
        _write(contents, temporary, progress)
        written = read_contents(Archive(temporary))
        bad = wrong_files(written)
        if not bad and written.manifest is not None:
            bad = wrong_checksums(written, progress=progress)
        if bad or written.sizes != contents.sizes:
            raise StoreError(
                f"{target}: {first_few(bad or ['its files'])}: not what was written. This disk is "
                "not to be trusted; choose another one."
            )
    return target


def _write(contents: Contents, target: Path, show: bool | None) -> None:
    root, sizes = contents.place.path, contents.sizes
    metadata = sorted(filter(is_metadata, sizes))
    data = sorted(sizes.keys() - set(metadata))
    with (
        bytes_bar(f"zipping {root.name}", sum(sizes.values()), show) as bar,
        zipfile.ZipFile(target, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
    ):
        for name in metadata + data:
            entry = _entry(name, sizes[name])
            crc = 0
            with archive.open(entry, "w") as to, open(root / name, "rb", buffering=0) as source:
                while block := source.read(BLOCK):
                    crc = google_crc32c.extend(crc, block)
                    to.write(block)
                    bar.update(len(block))
            manifest = contents.manifest
            if manifest is not None and name in manifest.data and manifest.data[name].crc32c != crc:
                raise StoreError(
                    f"{root}: {name} changed after it was written. Restore it from a copy, or save "
                    "the session again."
                )
        if contents.manifest is not None:
            content = encode(contents.manifest)
            archive.writestr(_entry(MANIFEST, len(content)), content)


def _entry(name: str, size: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _DATE)
    entry.external_attr = _MODE
    entry.file_size = size  # zipfile takes zip64 where it must
    return entry
