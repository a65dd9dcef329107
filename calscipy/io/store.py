"""Sessions in zarr 3: staged beside the target, computed in one graph, renamed when complete."""

from __future__ import annotations

import math
import os
import shutil
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import numpy as np
import xarray as xr
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from calscipy import model
from calscipy._version import __version__
from calscipy.errors import ArgumentError, StoreError, first_few
from calscipy.io.chunks import Chunks, chunk_movie
from calscipy.io.ome import multiscales
from calscipy.io.output import progress_bar, require_free

INNER_FRAMES, INNER_PIXELS = 64, 128
SMALL_CHUNK_BYTES = 16 * 2**20


def save_tree(
    tree: xr.DataTree,
    path: str | os.PathLike[str],
    *,
    groups: Sequence[str] | None = None,
    progress: bool | None = None,
) -> Path:
    """Save groups of a session's tree to a new zarr store.

    Everything is computed in one dask graph, so that each source frame is read once. The store
    appears under its name only when it is complete.

    Parameters
    ----------
    tree : DataTree
        The session's tree.
    path : path
        The store, a folder that does not exist yet.
    groups : sequence of str, optional
        Groups to save; all of them by default.
    progress : bool, optional
        Show a progress bar; the option ``progress`` by default.

    Raises
    ------
    TargetExistsError
        If there is anything at ``path``.
    StoreError
        If it cannot be written, for instance on a full disk. Nothing is left behind.
    """
    target = Path(path).absolute()
    datasets = _select(tree, groups)
    require_free(target)
    prepared = {name: _prepare(dataset) for name, dataset in datasets.items()}
    attrs = ready_attrs(tree.attrs, "/") | {
        model.SCHEMA_ATTR: model.SCHEMA_VERSION,
        "calscipy_version": __version__,
    }
    with _stage(target) as stage:
        _write(stage, prepared, attrs, progress)
        require_free(target)
    return target


def to_zarr(
    data: xr.DataArray, path: str | os.PathLike[str], *, progress: bool | None = None
) -> Path:
    """Save one array to a new zarr store that ``ImagingSession.open`` reads.

    Parameters
    ----------
    data : DataArray
        Movie, traces or events.
    path : path
        The store, a folder that does not exist yet.
    progress : bool, optional
        Show a progress bar; the option ``progress`` by default.

    Returns
    -------
    Path
        The store.

    Examples
    --------
    >>> import calscipy as cs
    >>> movie = cs.from_numpy(np.zeros((2, 4, 4), "uint16"), frame_rate=30)
    >>> to_zarr(movie, "movie.zarr", progress=False).name
    'movie.zarr'
    """
    groups = {"movie": model.MOVIE, "events": model.EVENTS, "traces": model.TRACES}
    group = groups.get(str(model.kind(data)))
    if group is None:
        raise ArgumentError(
            f"to_zarr saves movies, traces and events, not an array with the dimensions "
            f"{tuple(data.dims)}. Put it into a session, or use xarray's own to_zarr."
        )
    name = group if group != model.TRACES else str(data.name or model.TRACES)
    dataset = data.rename(name).to_dataset()
    dataset.attrs = {model.LATEST_ATTR: name}
    tree = xr.DataTree.from_dict({f"/{group}": dataset})
    return save_tree(tree, path, progress=progress)


def is_store(path: Path) -> bool:
    """Tell whether a folder is a zarr 3 group."""
    return (path / "zarr.json").is_file()


def open_store(path: Path, *, chunks: Chunks = "frames") -> xr.DataTree:
    """Open a store, its arrays lazily in the blocks in which they were saved.

    ``chunks`` is for the movie: ``"frames"`` are its saved blocks.

    Raises
    ------
    StoreError
        If it is not one of ours, is incomplete, or was written by a newer schema.
    """
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3)
        attrs = group.attrs.asdict()
        older = [name for name, node in group.members(None) if node.metadata.zarr_format != 3]
    except Exception as error:  # a damaged zarr.json raises many kinds
        raise StoreError(
            f"{path}: not a readable zarr 3 group ({error}). Restore the store from a copy."
        ) from error
    if older:
        raise StoreError(
            f"{path}: {first_few(older)} are zarr 2 arrays, which calscipy never writes and whose "
            "filters may run code. Restore the store from a copy."
        )
    schema = attrs.get(model.SCHEMA_ATTR)
    if not isinstance(schema, int):
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
    tree = xr.open_datatree(path, engine="zarr", chunks=None, decode_timedelta=False)
    found = {name: _opened(node.to_dataset(), chunks) for name, node in tree.children.items()}
    root = {k: v for k, v in tree.attrs.items() if k not in _OWN_ATTRS}
    return xr.DataTree.from_dict({"/": xr.Dataset(attrs=root)} | found)


_OWN_ATTRS = {model.COMPLETE_ATTR, "calscipy_version", "ome"}


def _opened(dataset: xr.Dataset, chunks: Chunks) -> xr.Dataset:
    chunked = {}
    by_blocks = chunks == "frames" or model.MOVIE not in dataset.data_vars
    for name, variable in dataset.variables.items():
        if name in dataset.coords or variable.dims == (model.PIXEL,):  # ROIs
            chunked[name] = _plain_strings(variable.load())
            continue
        if not by_blocks:
            chunked[name] = variable
            continue
        shards = variable.encoding.get("shards") or variable.encoding.get("chunks")
        sizes = dict(zip(variable.dims, shards or variable.shape, strict=True))
        chunked[name] = variable.chunk({d: min(n, variable.sizes[d]) for d, n in sizes.items()})
    attrs = {k: v for k, v in dataset.attrs.items() if k != "ome"}
    coords = {name: chunked.pop(name) for name in dataset.coords}
    opened = xr.Dataset(chunked, coords, attrs).drop_encoding()
    return opened if by_blocks else chunk_movie(opened, chunks)


def _plain_strings(variable: xr.Variable) -> xr.Variable:
    if variable.dtype.kind not in "TO":
        return variable
    texts = np.asarray(variable.values.tolist(), dtype=np.str_)
    return xr.Variable(variable.dims, texts, variable.attrs)


def _select(tree: xr.DataTree, groups: Sequence[str] | None) -> dict[str, xr.Dataset]:
    present = list(tree.children)
    if isinstance(groups, str):
        groups = (groups,)
    missing = sorted(set(groups or ()) - set(present))
    if missing:
        raise ArgumentError(
            f"save: no group {first_few(missing)} in this session; it has {present}"
        )
    names = present if groups is None else [name for name in present if name in groups]
    if not names:
        raise ArgumentError(
            "save: the session has no group to save. Open a recording or assign arrays first."
        )
    return {name: tree[name].to_dataset() for name in names}


@contextmanager
def _stage(target: Path) -> Iterator[Path]:
    """Give a folder beside the target that becomes the target, or is removed on any failure."""
    stage = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.partial")
    try:
        stage.mkdir()
        yield stage
        _sync(stage)
        stage.rename(target)
    except BaseException as error:
        shutil.rmtree(stage, ignore_errors=True)
        if isinstance(error, OSError) and not isinstance(error, StoreError):
            raise StoreError(
                f"{target}: the store could not be written ({error}). Nothing was left behind; "
                "free some space or choose a folder that can be written to, then save again."
            ) from error
        raise


def _sync(folder: Path) -> None:
    """Bring files and folder entries to the disk before the store gets its name."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            with open(os.path.join(parent, name), "rb+") as stream:
                os.fsync(stream.fileno())
        if hasattr(os, "O_DIRECTORY"):
            handle = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _write(
    stage: Path,
    prepared: Mapping[str, tuple[xr.Dataset, dict[str, Any]]],
    attrs: dict[str, Any],
    progress: bool | None,
) -> None:
    datasets = {"/": xr.Dataset(attrs=attrs)}
    datasets |= {name: dataset for name, (dataset, _) in prepared.items()}
    # One call for all groups: xarray then stores them in one graph, which reads sources once.
    pending = xr.DataTree.from_dict(datasets).to_zarr(
        stage,
        mode="w-",
        encoding={f"/{name}": encoding for name, (_, encoding) in prepared.items()},
        compute=False,
        consolidated=False,
        zarr_format=3,
        write_empty_chunks=True,
    )
    name = stage.name.lstrip(".").rsplit(".", 2)[0]
    with progress_bar(f"saving {name}", show=progress):
        dask.compute(pending)
    root = zarr.open_group(stage, mode="r+", zarr_format=3)
    if model.MOVIE in prepared:
        dataset = prepared[model.MOVIE][0]
        if model.MOVIE in dataset:
            movie = dataset[model.MOVIE]
            root[model.MOVIE].attrs["ome"] = multiscales(movie, model.MOVIE)
            root.attrs["ome"] = multiscales(movie, f"{model.MOVIE}/{model.MOVIE}")
    root.attrs[model.COMPLETE_ATTR] = True
    with warnings.catch_warnings():
        # Consolidated metadata is not part of zarr 3 yet, but readers look for it first.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(stage, zarr_format=3)


def _prepare(dataset: xr.Dataset) -> tuple[xr.Dataset, dict[str, Any]]:
    """Bring a dataset into a form that zarr takes, with the encoding of every variable."""
    ready = dataset.drop_encoding()
    extra = [name for name in ready.xindexes if name not in ready.dims]
    ready = ready.reset_index(extra)
    encoding: dict[str, Any] = {}
    changed = {}
    for name, variable in ready.variables.items():
        chunks, shards = None, None
        if variable.dtype.kind in "UTO":
            variable = _objects(variable, str(name))
        elif variable.ndim and variable.size:
            variable, chunks, shards = _aligned(variable)
        variable = variable.copy(deep=False)
        variable.attrs = ready_attrs(variable.attrs, str(name))
        encoding[str(name)] = _codecs(variable) | (
            {} if chunks is None else {"chunks": chunks, "shards": shards}
        )
        changed[name] = variable
    coords = {name: changed.pop(name) for name in ready.coords}
    result = xr.Dataset(changed, coords, ready_attrs(ready.attrs, "group"))
    return result, encoding


def _objects(variable: xr.Variable, name: str) -> xr.Variable:
    """Store texts with variable length; fixed-length texts have no zarr 3 specification."""
    values = np.asarray(variable.values, dtype=object)
    if not all(isinstance(value, str) for value in values.ravel()):
        raise StoreError(
            f"the variable {name!r} holds objects that are not text and cannot be saved. "
            "Convert it to numbers or text, or drop it."
        )
    return xr.Variable(variable.dims, values.astype(np.dtypes.StringDType()), variable.attrs)


def _codecs(variable: xr.Variable) -> dict[str, Any]:
    if variable.dtype.kind == "T":
        return {}
    blosc = BloscCodec(
        cname="zstd", clevel=3, shuffle="bitshuffle", typesize=variable.dtype.itemsize
    )
    return {"compressors": (blosc, Crc32cCodec())}


def _aligned(
    variable: xr.Variable,
) -> tuple[xr.Variable, tuple[int, ...], tuple[int, ...] | None]:
    """Bring dask blocks to one length by axis and choose the chunks and shards for them."""
    sizes = {str(dim): size for dim, size in variable.sizes.items()}
    if variable.chunks is None:
        blocks = _small_blocks(sizes, variable.dtype.itemsize)
    else:
        lengths = dict(zip(sizes, (max(c) for c in variable.chunks), strict=True))
        blocks = {dim: _block_length(dim, n, sizes[dim]) for dim, n in lengths.items()}
        variable = variable.chunk(blocks)
    if not {model.FRAMES, model.Y, model.X} <= set(sizes):
        return variable, tuple(blocks.values()), None
    inner, outer = {}, {}
    for dim, length in blocks.items():
        if dim in (model.Y, model.X):
            inner[dim] = min(INNER_PIXELS, length)
            outer[dim] = math.ceil(length / inner[dim]) * inner[dim]
        else:
            inner[dim] = _divisor(length) if dim == model.FRAMES else 1
            outer[dim] = length
    return variable, tuple(inner.values()), tuple(outer.values())


def _block_length(dim: str, length: int, size: int) -> int:
    """Return a block length that has a divisor close to the inner chunk."""
    step = {model.FRAMES: INNER_FRAMES, model.Y: INNER_PIXELS, model.X: INNER_PIXELS}.get(dim, 1)
    if length >= size or length <= step:
        return min(length, size)
    return length // step * step


def _divisor(length: int) -> int:
    """Return the largest divisor of a block's frames up to the inner chunk."""
    if length <= INNER_FRAMES:
        return length
    found = next(n for n in range(INNER_FRAMES, 0, -1) if length % n == 0)
    return found


def _small_blocks(sizes: dict[str, int], itemsize: int) -> dict[str, int]:
    """Cut an array in memory along its first dimension into chunks of at most 16 MiB."""
    row = itemsize * math.prod(list(sizes.values())[1:])
    first = next(iter(sizes))
    return sizes | {first: max(1, min(sizes[first], SMALL_CHUNK_BYTES // max(row, 1)))}


def ready_attrs(attrs: Mapping[Any, Any], where: str) -> dict[str, Any]:
    """Return attributes in the form that zarr's JSON takes.

    Raises
    ------
    StoreError
        Naming the attribute that cannot be stored.
    """
    return {str(key): _ready(value, f"{where}.{key}") for key, value in attrs.items()}


def _ready(value: Any, where: str) -> Any:
    if isinstance(value, Mapping):
        return ready_attrs(value, where)
    if isinstance(value, list | tuple):
        return [_ready(item, where) for item in value]
    if isinstance(value, np.ndarray):
        return _ready(value.tolist(), where)
    if isinstance(value, np.generic):
        return _ready(value.item(), where)
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    if value is None or isinstance(value, str | int | float | bool):
        return value
    raise StoreError(
        f"the attribute {where!r} is a {type(value).__name__}, which a store cannot hold. "
        "Convert it to text or numbers, or drop it."
    )
