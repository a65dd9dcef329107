"""Movies larger than memory allows are worked on piece by piece, over space and over time."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

import calscipy as cs
from calscipy.testing import tiff_frame

ROOT = Path(cs.__file__).parents[1]
Y, X = 512, 512
FRAMES, PIXEL_FRAMES = 16384, 8192  # 8 and 4 GiB of uint16
LIMIT = 1500e6  # bytes

DISTINCT = 64  # images on disk; the others are hard links to them, read each by itself
STEP = 10  # from one image to the next


def image(number):
    y, x = np.ogrid[:Y, :X]
    return (500 + y + x + STEP * number).astype("uint16")


def long_recording(folder, frames):
    """Write the master XML of a plane series and as many names of a few TIFF files."""
    listed = [f"m_Cycle00001_Ch2_{n + 1:06d}.ome.tif" for n in range(frames)]
    for number, name in enumerate(listed):
        if number < DISTINCT:
            (folder / name).write_bytes(tiff_frame(image(number), description=b"<OME></OME>"))
        else:
            os.link(folder / listed[number % DISTINCT], folder / name)
    rows = "".join(
        f'<Frame relativeTime="{n / 30}" absoluteTime="{n / 30}" index="{n + 1}">'
        f'<File channel="2" channelName="Ch2" filename="{name}" /></Frame>'
        for n, name in enumerate(listed)
    )
    sizes = "".join(
        f'<PVStateValue key="{key}" value="{size}" />'
        for key, size in (("linesPerFrame", Y), ("pixelsPerLine", X))
    )
    (folder / "m.xml").write_text(
        f'<PVScan version="5.5.64.600"><PVStateShard>{sizes}</PVStateShard>'
        f'<Sequence type="TSeries Timed Element" cycle="1">{rows}</Sequence></PVScan>'
    )


def require_space(folder):
    if shutil.disk_usage(folder).free < 500e6:
        pytest.skip("needs 500 MB of free space on the disk of temporary files")


SCRIPT = """
    import json, resource, sys, time
    import dask
    import calscipy as cs

    movie = cs.ImagingSession.open(sys.argv[1]).movie
    clean = movie.cs.median_filter(size=3).cs.gaussian_filter(sigma=1)
    start = time.perf_counter()
    with dask.config.set(scheduler="threads", num_workers=2):
        images = clean.cs.summary().compute()
    middle = images.isel(y=slice(100, 103), x=slice(200, 203))
    print(json.dumps({
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "seconds": time.perf_counter() - start,
        "bytes": movie.nbytes,
        "middle": {name: image.values.tolist() for name, image in middle.items()},
    }))
"""


def run(script, folder):
    command = [sys.executable, "-c", textwrap.dedent(script), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux alone")
def test_filters_and_summary_of_eight_gigabytes_stay_within_memory(tmp_path):
    require_space(tmp_path)
    long_recording(tmp_path, FRAMES)
    found = run(SCRIPT, tmp_path)
    size, peak = found["bytes"] / 1e9, found["peak"] / 1e9
    print(f"{size:.2f} GB: peak {peak:.2f} GB, {found['seconds']:.0f} s")
    assert found["bytes"] > 8e9
    # SciPy on the pixels around, of the whole time.
    around = np.stack([image(n)[92:111, 192:211] for n in range(DISTINCT)])
    whole = np.tile(around, (FRAMES // DISTINCT, 1, 1))
    clean = ndimage.gaussian_filter(ndimage.median_filter(whole, 3).astype("f8"), 1)
    traces = clean[:, 7:12, 7:12]
    expected = {name: getattr(traces, name)(axis=0)[1:4, 1:4] for name in ("mean", "max", "std")}
    for name, wanted in expected.items():
        np.testing.assert_allclose(found["middle"][name], wanted, rtol=1e-6, err_msg=name)
    correlations = np.corrcoef(traces.reshape(FRAMES, -1).T).reshape(5, 5, 5, 5)
    for y, x in np.ndindex(3, 3):
        local = (correlations[y + 1, x + 1, y : y + 3, x : x + 3].sum() - 1) / 8
        assert found["middle"]["local_correlation"][y][x] == pytest.approx(local, abs=1e-6)
    assert found["peak"] < LIMIT


# -- ΔF/F of every pixel of a recording that does not fit -----------------------------------

PIXELS = """
    import json, resource, sys, time
    from concurrent.futures import ThreadPoolExecutor
    import dask, numpy as np
    import calscipy as cs
    from calscipy.kernels.baseline import percentile_baseline
    from calscipy.kernels.dfof import fold_change
    from calscipy.kernels.noise import noise_sigma

    THREADS, TURNS = 2, 4
    dask.config.set(scheduler="threads", num_workers=THREADS)
    cs.set_options(memory_limit=10**9)
    movie = cs.ImagingSession.open(sys.argv[1], chunks="time").movie

    def ours(movie):
        return movie.cs.dfof(method="percentile").cs.project(reduce="max").compute()

    def kernel(rows):
        lowest = np.nan_to_num(noise_sigma(rows))[..., None]
        return fold_change(rows, percentile_baseline(rows, percentile=8.0), lowest=lowest)

    def timed(work, *args):
        start = time.perf_counter()
        result = work(*args)
        return time.perf_counter() - start, result

    seconds, image = timed(ours, movie)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    # In turns, a band for each thread: ours, reading alone, the kernel alone on rows in memory.
    rounds = []
    height = movie.chunks[1][0]
    for turn in range(TURNS):
        bands = movie.isel(y=slice(turn * THREADS * height, (turn + 1) * THREADS * height))
        whole, _ = timed(ours, bands)
        reading, parts = timed(lambda data: dask.compute(*data.to_delayed().ravel()), bands.data)
        pieces = []
        for part in parts:
            rows = np.ascontiguousarray(part.reshape(len(part), -1).T, "f4")
            pieces += [rows[n : n + 64] for n in range(0, len(rows), 64)]
        with ThreadPoolExecutor(THREADS) as pool:
            working, _ = timed(lambda: [None for _ in pool.map(kernel, pieces)])
        rounds.append((whole, reading, working))
    print(json.dumps({
        "peak": peak,
        "seconds": seconds,
        "rounds": rounds,
        "bytes": movie.nbytes,
        "rows": height,
        "corner": image.values[:3, :3].tolist(),
    }))
"""


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in kB on Linux alone")
def test_dfof_of_every_pixel_of_four_gigabytes_stays_within_memory(tmp_path):
    require_space(tmp_path)
    long_recording(tmp_path, PIXEL_FRAMES)
    found = run(PIXELS, tmp_path)
    whole, reading, kernel = np.array(found["rounds"]).T
    ratio = float(np.median(whole / (reading + kernel)))
    print(
        f"{found['bytes'] / 1e9:.2f} GB in bands of {found['rows']} rows: peak "
        f"{found['peak'] / 1e9:.2f} GB, {found['seconds']:.0f} s; in turns, x{ratio:.2f} of "
        f"reading ({100 * np.median(reading / (reading + kernel)):.0f} %) and the kernel alone"
    )
    assert found["bytes"] > 4e9
    numbers = STEP * np.tile(np.arange(DISTINCT), PIXEL_FRAMES // DISTINCT)
    lowest = np.percentile(numbers, 8)
    for y, row in enumerate(found["corner"]):
        levels = [500 + y + x + lowest for x in range(3)]
        expected = [(numbers.max() - lowest) / level for level in levels]
        assert row == pytest.approx(expected, rel=1e-5)
    assert found["peak"] < LIMIT
    assert ratio < 3  # 1.5 on a quiet machine
