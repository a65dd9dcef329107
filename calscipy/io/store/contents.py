"""What a store consists of, as far as names, sizes and metadata tell, and whether that is all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calscipy import model
from calscipy._version import __version__
from calscipy.errors import StoreError, first_few
from calscipy.io.paths import local_path
from calscipy.io.store.archive import Archive, is_archive
from calscipy.io.store.claims import ArrayClaim, array_claim, compare_claims
from calscipy.io.store.files import MAX_JSON_BYTES, METADATA, is_metadata, parse_json
from calscipy.io.store.manifest import (
    MANIFEST_SINCE,
    BadFile,
    Manifest,
    compare_metadata,
    compare_sizes,
)
from calscipy.io.store.places import Folder, Place
from calscipy.io.store.remote_place import Remote, RemotePlace, is_remote


def is_store(path: Path) -> bool:
    """Tell whether a folder is a zarr 3 group, or a file a zip of one."""
    return (path / METADATA).is_file() or is_archive(path)


def place_of(path: str | os.PathLike[str] | Remote) -> Place:
    """Return a folder, a zip file, a URL or a zarr Store as the place of a store.

    Raises
    ------
    StoreError
        If there is neither.
    """
    if is_remote(path):
        return RemotePlace(path)
    path = local_path(path).absolute()  # type: ignore[arg-type]  # mypy keeps the str that is a URL
    if path.is_dir():
        return Folder(path)
    if is_archive(path):
        return Archive(path)
    if path.exists():
        raise StoreError(
            f"{path}: this file is no store of calscipy, which is a folder (.zarr) or a zip file "
            "of one. Other files have no checksums that could be verified."
        )
    raise StoreError(f"{path}: there is no store, neither a folder nor a zip file.")


@dataclass(frozen=True)
class Contents:
    """A store of ours as far as it is known without reading its data.

    Parameters
    ----------
    place : Place
        Folder or zip file.
    sizes : dict of str to int
        Of all files by path.
    metadata : dict of str to bytes
        Content of every ``zarr.json`` by path.
    attrs : dict
        Of the root.
    groups : list of str
        Names of the groups.
    arrays : dict of str to ArrayClaim
        All arrays by path.
    manifest : Manifest or None
        None in stores of the first schema.
    """

    place: Place
    sizes: dict[str, int]
    metadata: dict[str, bytes]
    attrs: dict[str, Any]
    groups: list[str]
    arrays: dict[str, ArrayClaim]
    manifest: Manifest | None


def read_contents(place: Place) -> Contents:
    """Read names, sizes and metadata of a store, and refuse what is not ours or not safe.

    Raises
    ------
    StoreError
        For foreign, incomplete and newer stores, and for metadata that calscipy never writes.
    """
    attrs, schema = _root(place)
    sizes = place.sizes()
    names = [name for name in sizes if is_metadata(name)]
    if sum(sizes[name] for name in names) > MAX_JSON_BYTES:
        raise StoreError(
            f"{place.path}: more than {MAX_JSON_BYTES} bytes of metadata. calscipy writes far "
            "less; restore the store from a copy."
        )
    metadata = {name: place.read(name) for name in names}
    groups, arrays = _nodes(metadata, place)
    manifest = place.manifest()
    if manifest is None and schema >= MANIFEST_SINCE:
        raise StoreError(
            f"{place.path}: its manifest is missing, so that nothing tells whether it is whole. "
            "Restore it from a copy."
        )
    return Contents(place, sizes, metadata, attrs, groups, arrays, manifest)


def _root(place: Place) -> tuple[dict[str, Any], int]:
    """Return the root's attributes, of a complete store of a known schema."""
    path = place.path
    try:
        content = parse_json(place.read(METADATA), METADATA)
        attrs = content.get("attributes", {})
        if content.get("zarr_format") != 3 or not isinstance(attrs, dict):
            raise StoreError("it is of another version of zarr")
        nested = content.get("consolidated_metadata") or {}
        nodes = nested.get("metadata", {}) if isinstance(nested, dict) else {}
        older = [
            n
            for n, node in nodes.items()
            if not (isinstance(node, dict) and node.get("zarr_format") == 3)
        ]
    except FileNotFoundError as error:
        raise StoreError(
            f"{path}: not a readable zarr 3 group: there is no {METADATA} in it. If it is a store, "
            "restore it from a copy; anything else has no checksums that could be verified."
        ) from error
    except (OSError, AttributeError) as error:
        raise StoreError(
            f"{path}: not a readable zarr 3 group ({error}). Restore the store from a copy."
        ) from error
    if older:
        raise StoreError(
            f"{path}: {first_few(older)} are zarr 2 arrays, which calscipy never writes and whose "
            "filters may run code. Restore the store from a copy."
        )
    schema = attrs.get(model.SCHEMA_ATTR)
    if type(schema) is not int:
        raise StoreError(
            f"{path}: a zarr group, but not a calscipy store (no {model.SCHEMA_ATTR!r}). "
            "Open it with xarray.open_datatree(path, engine='zarr') and wrap it: "
            "ImagingSession(tree)."
        )
    if schema > model.SCHEMA_VERSION:
        raise StoreError(
            f"{path}: written with schema {schema} by calscipy "
            f"{attrs.get('calscipy_version', '?')}; this calscipy {__version__} reads schemas up "
            f"to {model.SCHEMA_VERSION}. Update calscipy."
        )
    if attrs.get(model.COMPLETE_ATTR) is not True:
        raise StoreError(
            f"{path}: the store is not complete; its writing was interrupted. Save it again."
        )
    return attrs, schema


def _nodes(metadata: Mapping[str, bytes], place: Place) -> tuple[list[str], dict[str, ArrayClaim]]:
    """Return the names of the groups and the arrays in them: one level deep, as we write."""
    groups, arrays = [], {}
    for name, content in sorted(metadata.items()):
        where = f"{place.path}: {name}"
        path = name.removesuffix(METADATA).rstrip("/")
        claim = array_claim(parse_json(content, where), path, where)
        depth = path.count("/") + 1 if path else 0
        if depth != (2 if claim else min(depth, 1)):
            raise StoreError(f"{where}: groups in groups or arrays outside of them, which calscipy "
                "never writes. Restore the store from a copy.")  # fmt: skip
        if claim is not None:
            arrays[path] = claim
        elif path:
            groups.append(path)
    orphans = [path for path in arrays if path.partition("/")[0] not in groups]
    if orphans:
        raise StoreError(
            f"{place.path}: {first_few(orphans)}: arrays whose group has lost its {METADATA}. "
            "Restore the store from a copy."
        )
    return groups, arrays


# -- whether it is whole -------------------------------------------------------------------------


def wrong_files(contents: Contents) -> list[BadFile]:
    """Return the files that are not as they were written, as far as names and sizes tell.

    The content of the metadata is compared as well; of data files, nothing is read.
    """
    manifest, sizes = contents.manifest, contents.sizes
    bad = [] if manifest is None else compare_sizes(manifest, sizes)
    known = {file.path for file in bad}
    if manifest is not None:
        for name, content in contents.metadata.items():
            if name not in known and (
                flaw := compare_metadata(manifest.metadata[name], content, name)
            ):
                bad.append(flaw)
    data = {name: size for name, size in sizes.items() if not is_metadata(name)}
    known |= {file.path for file in bad}
    bad += [f for f in compare_claims(contents.arrays.values(), data) if f.path not in known]
    return sorted(bad, key=lambda file: file.path)
