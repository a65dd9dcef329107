"""Fill a stage: metadata and small variables first, then every shard that is not there yet."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xarray as xr

from calscipy.errors import StoreError, UnfinishedError
from calscipy.io.store.graph import run_graph, write_graph
from calscipy.io.store.job import Job
from calscipy.io.store.journal import Journal
from calscipy.io.store.layout import Plan
from calscipy.io.store.progress import Progress, shard_progress
from calscipy.io.store.stage import (
    CLEAN,
    Lock,
    discard,
    require_no_other,
    require_space,
    stage_path,
    stages_of,
)
from calscipy.io.store.tasks import StagedStore, WriteError, writing


@contextmanager
def open_stage(target: Path, plan: Plan, job: Job, *, resume: bool) -> Iterator[tuple[Path, Lock]]:
    """Give the stage of a job, new or as it was left, to this process alone.

    On failure it is kept if the same save can go on with what is in it, else removed.

    Raises
    ------
    UnfinishedError
        If another save to this name was interrupted or is under way; without ``resume``, any.
    StoreError
        If it cannot be written to.
    """
    stage = stage_path(target, job.name)
    if not resume and stages_of(target):
        raise UnfinishedError(
            f"{target}: a save to this name was interrupted and left {stages_of(target)[0].name}. "
            f"Go on with it with resume=True (`--resume`), or remove it with {CLEAN}."
        )
    require_no_other(target, stage)
    try:
        with writing():
            stage.mkdir(exist_ok=True)
            lock = Lock(stage).__enter__()
        try:
            require_no_other(target, stage)
            yield stage, lock
        except BaseException:
            if not (job.repeatable and _done(stage, plan)):
                if sys.platform == "win32":
                    lock.release()
                discard(stage)
            raise
        finally:
            lock.release()
    except WriteError as error:
        raise StoreError(
            f"{target}: the store could not be written ({error.strerror}: {error.filename}). "
            f"{_left(stage, plan)}"
        ) from error
    except (Exception, KeyboardInterrupt) as error:
        if stage.exists() and not isinstance(error, UnfinishedError):
            error.add_note(_left(stage, plan))
        raise


def _done(stage: Path, plan: Plan) -> int:
    """Return how many shards are written."""
    entries = Journal(stage).entries()
    return sum(key in entries for key in plan.shards)


def _left(stage: Path, plan: Plan) -> str:
    if not stage.exists():
        return (
            "Nothing was left behind; free some space or choose a folder that can be written to, "
            "then save again."
        )
    return (
        f"{_done(stage, plan)} of {len(plan.shards)} shards are kept in {stage.name}: free some "
        f"space if it is that, and save the same again to go on there, or remove it with {CLEAN}."
    )


def fill(stage: Path, plan: Plan, job: Job, name: str, progress: Progress) -> None:
    """Write what a stage lacks: metadata and small variables, then shards in one graph.

    Raises
    ------
    WriteError
        If it cannot be written. Errors of reading and computing keep their type.
    """
    journal = Journal(stage)
    with writing():
        if not journal.ready:
            begin(stage, plan, job)
        journal.clear_temporary()
        entries = journal.entries()
    shards = plan.shards
    done = {key: size for key, size in shards.items() if key in entries}
    require_space(stage, sum(shards.values()) - sum(done.values()))
    graph, todo = write_graph(plan.arrays, str(stage), done)
    with shard_progress(f"saving {name}", todo, sum(done.values()), progress):
        run_graph(graph, todo)


def begin(stage: Path, plan: Plan, job: Job) -> None:
    """Write metadata and small variables into a stage, emptied of what an earlier run began."""
    journal = Journal(stage)
    journal.remove()
    for entry in stage.iterdir():
        if entry.is_dir():
            discard(entry)
        elif entry != Lock.file_in(stage):
            entry.unlink()
    journal.begin(job.facts | {"shards": len(plan.shards), "bytes": sum(plan.shards.values())})
    datasets = {"/": xr.Dataset(attrs=plan.attrs)} | plan.datasets
    # Lazy arrays are described only: xarray would compute them group by group.
    xr.DataTree.from_dict(datasets).to_zarr(
        StagedStore(stage),
        mode="a",  # the journal is there already
        encoding={f"/{name}": encoding for name, encoding in plan.encoding.items()},
        compute=False,
        consolidated=False,
        zarr_format=3,
        write_empty_chunks=True,
    )
    journal.set_ready()
