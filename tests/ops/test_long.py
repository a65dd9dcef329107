"""A movie larger than memory allows is filtered and projected piece by piece."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import calscipy as cs

ROOT = Path(cs.__file__).parents[1]
FRAMES, Y, X = 8192, 512, 512  # 4 GiB of uint16
LIMIT = 1200e6  # bytes

SCRIPT = f"""
    import json, resource, time
    import dask, dask.array as da, numpy as np
    import calscipy as cs

    def frames(block_info):
        # Frame n is a ramp over y and x that brightens with n.
        (first, stop), *_ = block_info[None]["array-location"]
        n = np.arange(first, stop, dtype="uint16")[:, None, None]
        y, x = np.ogrid[:{Y}, :{X}]
        return (y + x).astype("uint16") + n

    per_chunk = cs.get_option("chunk_bytes") // ({Y} * {X} * 2)
    chunks = ((per_chunk,) * ({FRAMES} // per_chunk), {Y}, {X})
    array = da.map_blocks(frames, chunks=chunks, dtype="uint16", meta=np.empty((0, 0, 0), "uint16"))
    movie = cs.from_numpy(array, frame_rate=30)
    clean = movie.cs.median_filter(size=(1, 3, 3)).cs.gaussian_filter(sigma=1)
    start = time.perf_counter()
    with dask.config.set(scheduler="threads", num_workers=2):
        image = clean.cs.project(reduce="mean").compute()
    print(json.dumps({{
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "seconds": time.perf_counter() - start,
        "bytes": movie.nbytes,
        "middle": image.values[100:103, 200:203].tolist(),
    }}))
"""


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux alone")
def test_four_gigabytes_stay_within_memory():
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    size, peak = found["bytes"] / 1e9, found["peak"] / 1e9
    print(f"{size:.2f} GB: peak {peak:.2f} GB, {found['seconds']:.0f} s")
    assert found["bytes"] > 4e9
    # Neither the median nor the Gaussian changes a ramp away from its edges.
    expected = [[y + x + (FRAMES - 1) / 2 for x in range(200, 203)] for y in range(100, 103)]
    for row, wanted in zip(found["middle"], expected, strict=True):
        assert row == pytest.approx(wanted, rel=1e-6)
    assert found["peak"] < LIMIT
