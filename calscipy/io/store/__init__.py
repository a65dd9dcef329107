"""Sessions in zarr 3 stores that survive."""

from calscipy.io.store.attrs import ready_attrs
from calscipy.io.store.opening import is_store, open_store
from calscipy.io.store.saving import save_tree, to_zarr

__all__ = ["is_store", "open_store", "ready_attrs", "save_tree", "to_zarr"]
