"""Sessions in zarr 3 stores that survive."""

from calscipy.io.store.attrs import ready_attrs
from calscipy.io.store.clean import clean, find_stages
from calscipy.io.store.contents import is_store
from calscipy.io.store.layout import StoreChunks
from calscipy.io.store.opening import open_store
from calscipy.io.store.progress import Progress
from calscipy.io.store.saving import Target, save_tree, to_zarr
from calscipy.io.store.verify import Verification, verify_store
from calscipy.io.store.zipping import to_zip

__all__ = [
    "Progress",
    "StoreChunks",
    "Target",
    "Verification",
    "clean",
    "find_stages",
    "is_store",
    "open_store",
    "ready_attrs",
    "save_tree",
    "to_zarr",
    "to_zip",
    "verify_store",
]
