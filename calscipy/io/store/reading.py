"""Arrays of a store as xarray reads them: within bounds, and damage named by its file."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
import zarr
from xarray.backends import BackendArray
from xarray.backends.zarr import ZarrStore
from xarray.core import indexing

from calscipy.errors import StoreError, first_few
from calscipy.io.store.claims import ArrayClaim
from calscipy.io.store.codecs import bounded
from calscipy.io.store.places import Place

_SEARCHED = 64  # files looked through for the one that is damaged


class StoredArray(BackendArray):
    """An array of a store, lazy. It pickles as the place and the name.

    Parameters
    ----------
    place : Place
        The store.
    claim : ArrayClaim
        What its metadata says of the array.
    dtype : dtype
        Of its elements.
    token : str
        Identity of its content, for dask.
    opened : Array
        The array as zarr opened it.
    """

    def __init__(
        self, place: Place, claim: ArrayClaim, dtype: np.dtype, token: str, opened: zarr.Array
    ) -> None:
        self.place = place
        self.claim = claim
        self.shape = claim.shape
        self.dtype = dtype
        self.token = token
        self._opened: zarr.Array | None = bounded(opened)

    def __getstate__(self) -> dict[str, Any]:
        # Codecs of zarr lose their bounds when they are pickled: they are made in every process.
        return self.__dict__ | {"_opened": None}

    def __dask_tokenize__(self) -> str:
        return self.token

    @property
    def _array(self) -> zarr.Array:
        if self._opened is None:
            self._opened = bounded(
                zarr.open_array(self.place.zarr(), path=self.claim.path, mode="r", zarr_format=3)
            )
        return self._opened

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        """Read what an indexer asks for."""
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key: tuple[Any, ...]) -> Any:
        try:
            if any(isinstance(item, np.ndarray) for item in key):
                found = self._array.oindex[key]
            else:
                found = self._array[key]
        except (IndexError, MemoryError):
            raise
        except Exception as error:  # codecs raise many kinds
            raise StoreError(self._explanation(key, error)) from error
        return np.asarray(found, dtype=self.dtype) if np.ndim(found) == 0 else found

    def _explanation(self, key: tuple[Any, ...], error: Exception) -> str:
        ranges = [
            sorted({int(n) // shard for n in np.atleast_1d(np.arange(size)[item])})
            for item, size, shard in zip(key, self.shape, self.claim.shards, strict=True)
        ]
        files = [
            self.claim.file(i) for i in itertools.islice(itertools.product(*ranges), _SEARCHED)
        ]
        bad = [file for file in files if self._is_bad(file)]
        return (
            f"{self.place.path}: {first_few(bad or files)} cannot be read ({error}). The disk or a "
            "copy damaged it; 'calscipy verify' lists all such files. Restore them from a copy, or "
            "save the session again."
        )

    def _is_bad(self, file: str) -> bool:
        manifest = self.place.manifest()
        try:
            return manifest is not None and (
                self.place.checksum(file) != manifest.data[file].crc32c
            )
        except (OSError, KeyError):
            return True


class _GroupStore(ZarrStore):
    """A group as xarray's zarr engine reads it, its arrays replaced by ours."""

    __slots__ = ("arrays_of",)
    arrays_of: Mapping[str, tuple[Place, ArrayClaim, str]]

    def open_store_variable(self, name: str) -> xr.Variable:
        plain = super().open_store_variable(name)
        place, claim, token = self.arrays_of[name]
        opened = self.members[name]
        assert isinstance(opened, zarr.Array)
        array = StoredArray(place, claim, plain.dtype, token, opened)
        return xr.Variable(
            plain.dims, indexing.LazilyIndexedArray(array), plain.attrs, plain.encoding
        )


def read_group(
    place: Place,
    name: str,
    claims: Mapping[str, ArrayClaim],
    tokens: Mapping[str, str],
    cache: bool,
) -> xr.Dataset:
    """Open one group of a store, everything in it lazily.

    Parameters
    ----------
    place : Place
        The store.
    name : str
        Of the group.
    claims : mapping of str to ArrayClaim
        Its arrays by name.
    tokens : mapping of str to str
        Identities of their contents by name.
    cache : bool
        Keep what was read whole, for arrays that are not in chunks.
    """
    group = zarr.open_group(
        place.zarr(), path=name, mode="r", zarr_format=3, use_consolidated=False
    )
    store = _GroupStore(group, mode="r", use_zarr_fill_value_as_mask=False)
    store.arrays_of = {n: (place, claim, tokens[n]) for n, claim in claims.items()}
    return xr.open_dataset(store, chunks=None, cache=cache, decode_timedelta=False)
