"""A save is killed again and again, and goes on each time where it was."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import calscipy as cs
from calscipy.io.store.job import without_stamps
from calscipy.io.store.journal import Journal
from calscipy.io.store.stage import stages_of
from calscipy.io.store.verify import verify_store
from calscipy.testing import write_recording

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes as POSIX does")

BLOCKS, FRAMES, SIDE = 24, 6, 24

# What it imports takes seconds, so one process imports it and forks another one for each save.
WORKER = """
import os, sys, time
sys.path.insert(0, os.path.dirname(__file__))
import dask, numpy as np
import calscipy as cs
import slow_filter

def save(recording, labels, target):
    session = cs.ImagingSession.open(recording, chunks={"frames": FRAMES})
    movie = session.movie
    filtered = movie.copy(data=movie.data.map_blocks(slow_filter.double, dtype="f4"))
    session = session.assign(movie=filtered).cs.extract(np.load(labels)).cs.dfof(method="mean")
    with dask.config.set(scheduler="threads", num_workers=2):
        session.save(target, progress=False)

for line in sys.stdin:
    arguments = line.rstrip("\\n").split("\\t")
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            save(*arguments)
            code = 0
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
        os._exit(code)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
""".replace("FRAMES", str(FRAMES))

SLOW_FILTER = """
import os, time

def double(block, block_id=None):
    if not block.size:
        return block
    with open(os.environ["FILTERED"], "a") as log:
        log.write(f"{block_id[0]}\\n")
    time.sleep(0.015)
    return block.astype("f4") * 2
"""


class Exporter:
    """Starts saves in processes that can be killed, and knows which blocks they filtered."""

    def __init__(self, folder):
        self.log = folder / "filtered.txt"
        (folder / "worker.py").write_text(WORKER)
        (folder / "slow_filter.py").write_text(SLOW_FILTER)
        places = os.pathsep.join([str(Path(cs.__file__).parents[1]), str(folder)])
        environment = os.environ | {"FILTERED": str(self.log), "PYTHONPATH": places}
        self.errors = folder / "errors.txt"
        with self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(folder / "worker.py")], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
            )  # fmt: skip

    def run(self, *arguments, kill_when=None):
        """Save, or kill the save as soon as the condition holds; return the exit status."""
        self.log.write_text("")
        self.process.stdin.write("\t".join(map(str, arguments)) + "\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline())
        while kill_when is not None:
            if kill_when() or not alive(pid):
                os.kill(pid, signal.SIGKILL)
                break
            time.sleep(0.001)
        return int(self.process.stdout.readline())

    def filtered(self):
        return [int(line) for line in self.log.read_text().split()]

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return not Path("/proc").is_dir()


@pytest.fixture(scope="module")
def exporter(tmp_path_factory):
    exporter = Exporter(tmp_path_factory.mktemp("worker"))
    yield exporter
    exporter.close()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    truth = write_recording(
        folder / "r", frames=BLOCKS * FRAMES, shape=(SIDE, SIDE), neurons=2, seed=1
    )
    np.save(folder / "labels.npy", truth.labels)
    return folder / "r", folder / "labels.npy"


@pytest.fixture(scope="module")
def reference(exporter, source, tmp_path_factory):
    target = tmp_path_factory.mktemp("reference") / "s.zarr"
    assert exporter.run(*source, target) == 0, exporter.errors.read_text()
    assert sorted(exporter.filtered()) == list(range(BLOCKS))  # once for movie and traces
    return target


def contents(store):
    """Files of a store, as two saves of the same write them."""
    found = {}
    for file in sorted(store.rglob("*")):
        if file.is_file():
            content = file.read_bytes()
            if file.name == "zarr.json":
                content = json.dumps(without_stamps(json.loads(content)))
            if file.name == "manifest.json":
                content = sorted(json.loads(content)["data"].items())
            found[file.relative_to(store).as_posix()] = content
    return found


def written(stage):
    """Blocks of the movie that the journal of a stage has."""
    keys = Journal(stage).entries() if (Journal(stage).folder / "entries").is_dir() else ()
    return {int(key.split("/")[3]) for key in keys if key.startswith("movie/movie/c/")}


def kill_and_resume(exporter, source, target, kills, rng, reference):
    """Kill a save some times, let it end, and compare; return how many kills hit it at work."""
    done, hits = set(), 0
    for _ in range(kills):
        after, pause = rng.randrange(BLOCKS), rng.uniform(0, 0.03)
        start = len(done)

        def now(after=after, pause=pause, start=start):
            if len(exporter.filtered()) < max(0, after - start):
                return False
            time.sleep(pause)
            return True

        status = exporter.run(*source, target, kill_when=now)
        filtered = exporter.filtered()
        assert len(filtered) == len(set(filtered))
        assert not done & set(filtered)  # what the journal has is never filtered again
        if target.exists():
            break
        assert status == -signal.SIGKILL, exporter.errors.read_text()
        hits += bool(filtered)
        for stage in stages_of(target):
            done = written(stage)
    if not target.exists():
        assert exporter.run(*source, target) == 0, exporter.errors.read_text()
        assert sorted(exporter.filtered()) == sorted(set(range(BLOCKS)) - done)
    elif any(path.name.startswith(".") for path in target.iterdir()):
        assert exporter.run(*source, target) == 0  # killed between its name and its end
    assert contents(target) == contents(reference)
    assert verify_store(target, progress=False).ok
    assert [path.name for path in target.parent.iterdir()] == [target.name]
    return hits


def test_three_kills_and_the_store_is_that_of_an_undisturbed_save(
    exporter, source, reference, tmp_path
):
    target = tmp_path / "s.zarr"
    rng = random.Random(4)
    assert kill_and_resume(exporter, source, target, 3, rng, reference) >= 1
    xr.testing.assert_identical(
        cs.ImagingSession.open(target).dfof.compute().drop_attrs(),
        cs.ImagingSession.open(reference).dfof.compute().drop_attrs(),
    )


@pytest.mark.long
def test_thirty_kills_over_six_saves(exporter, source, reference, tmp_path):
    rng = random.Random(20261122)
    hits = 0
    for export in range(6):
        (tmp_path / str(export)).mkdir()
        target = tmp_path / str(export) / "s.zarr"
        hits += kill_and_resume(exporter, source, target, 5, rng, reference)
    assert hits >= 15
