"""A recording larger than memory allows becomes a store piece by piece."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import calscipy as cs
from calscipy.testing import tiff_frame

SIDE, FRAMES = 512, 8192  # 4 GiB of uint16
LIMIT = 1e9  # bytes
DISTINCT = 64  # images on the disk; the others are links to them, read each by itself

SCRIPT = """
    import json, resource, sys
    import dask
    import calscipy as cs

    with dask.config.set(scheduler="threads", num_workers=2):
        saved = cs.ImagingSession.open(sys.argv[1]).save(sys.argv[2], progress=False)
    print(json.dumps({
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "frames": saved.movie.sizes["frames"],
        "sum": int(saved.movie.isel(frames=70)[3, :5].astype("u8").sum()),
    }))
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux does")
def test_converting_four_gigabytes_takes_less_than_one_of_memory(tmp_path):
    if shutil.disk_usage(tmp_path).free < 5e9:
        pytest.skip("needs 5 GB of free space on the disk of temporary files")
    rng = np.random.default_rng(0)
    folder = tmp_path / "r"
    folder.mkdir()
    images = rng.poisson(200, (DISTINCT, SIDE, SIDE)).astype("u2")
    names = [f"m_Cycle00001_Ch2_{n + 1:06d}.ome.tif" for n in range(FRAMES)]
    for number, name in enumerate(names):
        if number < DISTINCT:
            (folder / name).write_bytes(tiff_frame(images[number], description=b"<OME></OME>"))
        else:
            os.link(folder / names[number % DISTINCT], folder / name)
    rows = "".join(
        f'<Frame relativeTime="{n / 30}" absoluteTime="{n / 30}" index="{n + 1}">'
        f'<File channel="2" channelName="Ch2" filename="{name}" /></Frame>'
        for n, name in enumerate(names)
    )
    sizes = "".join(
        f'<PVStateValue key="{key}" value="{SIDE}" />' for key in ("linesPerFrame", "pixelsPerLine")
    )
    (folder / "r.xml").write_text(
        f'<PVScan version="5.5.64.600"><PVStateShard>{sizes}</PVStateShard>'
        f'<Sequence type="TSeries Timed Element" cycle="1">{rows}</Sequence></PVScan>'
    )
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), str(folder), str(tmp_path / "s.zarr")],
        capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": str(Path(cs.__file__).parents[1])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["frames"] == FRAMES
    assert found["sum"] == images[70 % DISTINCT, 3, :5].sum()
    assert found["peak"] < LIMIT
