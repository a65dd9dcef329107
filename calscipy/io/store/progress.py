"""How far a save is, in bytes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from dask.callbacks import Callback

from calscipy.options import get_option

Progress = bool | Callable[[int, int], object] | None


@contextmanager
def shard_progress(
    text: str, todo: Mapping[Any, int], done: int, progress: Progress
) -> Iterator[None]:
    """Show a bar, or call a function, as shards are written by the threads of this process.

    Parameters
    ----------
    text : str
        What the bar says.
    todo : mapping
        Bytes of the block that each task writes, by its key.
    done : int
        Bytes that were written in earlier runs.
    progress : bool, callable or None
        The option ``progress`` if None. A callable is called with the bytes that are done and with
        those that there are.
    """
    show = get_option("progress") if progress is None else progress
    if show is False:
        yield
        return
    total = done + sum(todo.values())
    if callable(show):
        show(done, total)
        with _Count(todo, done, lambda now: show(now, total)):
            yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tqdm complains in notebooks without ipywidgets
        from tqdm.auto import tqdm
    with (
        tqdm(desc=text, total=total, initial=done, unit="B", unit_scale=True, leave=False) as bar,
        _Count(todo, done, lambda now: bar.update(now - bar.n)),
    ):
        yield


class _Count(Callback):
    """Adds up the bytes of the tasks that are done; dask calls it in one thread."""

    def __init__(self, todo: Mapping[Any, int], done: int, report: Callable[[int], object]) -> None:
        super().__init__()
        self.todo, self.done, self.report = todo, done, report

    def _posttask(self, key: Any, result: Any, dsk: Any, state: Any, worker: Any) -> None:
        if key in self.todo:
            self.done += self.todo[key]
            self.report(self.done)
