"""The benchmarks run: their smallest sizes, which also check that all variants agree."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from calscipy.ops.baseline import BASELINE_ARGUMENTS

FOLDER = Path(__file__).parents[1] / "benchmarks"


def load(name):
    """Import a benchmark, which finds its neighbours as it does when it is run."""
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def movies():
    """The benchmark of movies as a module."""
    return load("movies")


def test_every_row_is_measured_and_all_variants_agree(movies, capsys):
    table = movies.main(frames=17, shape=(48, 56), repeats=1)
    printed = capsys.readouterr().out
    operations = [line["operation"] for line in table]
    for word in ("median", "Gaussian", "summary", "extract", "bin", "estimate_", "apply_", "lazy"):
        assert any(word in operation for operation in operations), word
    assert sum("then max" in operation for operation in operations) == 3
    for line in table:
        assert line["operation"] in printed
        assert line["copies"] > 0
        if line["ratio"] is not None:
            assert np.isfinite(line["ratio"])
            assert line["ratio"] > 0
        else:
            assert "dask_image" in line["alternative"]
    goals = {line["operation"]: line["goal"] for line in table}
    assert goals["median 3x3x3"] == ">= 80"
    assert goals["summary, lazy"] == "<= 3"


def test_every_row_of_traces_is_measured_and_all_variants_agree(capsys):
    table = load("traces").main(neurons=3, samples=1500, repeats=1)
    printed = capsys.readouterr().out
    assert len(table) == 10
    for line in table:
        assert line["operation"] in printed
        assert line["goal"].startswith(">= ")
        if line["ratio"] is None:
            assert "oasis" in line["alternative"]
        else:
            assert line["ratio"] > 0


def test_every_way_to_write_and_read_a_store_is_measured_and_agrees(tmp_path, capsys):
    table = load("stores").main(frames=128, side=48, folder=tmp_path, repeats=1)
    printed = capsys.readouterr().out
    assert [line["goal"] for line in table] == [">= 2", "<= 1.3", "-", "-", ">= 10", "<= 4"]
    for line in table:
        assert line["alternative"] in printed
        assert line["ratio"] > 0
    assert list(tmp_path.iterdir()) == []


def test_every_baseline_is_in_the_leaderboard_and_the_recommended_one_is_unbiased(capsys):
    module = load("baselines")
    table = module.main(neurons=2, duration=300.0)
    printed = capsys.readouterr().out
    for method in BASELINE_ARGUMENTS:
        assert printed.count(f"| `{method}` |") == len(module.SCENES)
    for line in table:
        if line["method"] == "inactive_frames" and "sparse" in line["scene"]:
            assert all(abs(line[f"bias {snr:g}"]) < 0.02 for snr in module.SNRS)


def test_a_ratio_is_above_one_where_we_are_faster_or_slower_as_the_goal_counts(movies):
    def row(**goal):
        return movies.Row("ours", "theirs", lambda: None, lambda: None, lambda a, b: None, **goal)

    assert row(faster=8, share=0.1).ratio(ours=2.0, theirs=4.0) == pytest.approx(20)
    assert row(slower=3).ratio(ours=2.0, theirs=4.0) == 0.5


@pytest.mark.parametrize("wrong", ["median 3x3x3", "Gaussian sigma 1", "extract 500 ROIs"])
def test_a_variant_that_differs_is_noticed(movies, wrong):
    movie = movies.Movie(17, (48, 56))
    rows = [*movies.filter_rows(movie), *movies.reduction_rows(movie)]
    (row,) = [row for row in rows if row.operation == wrong]
    ours, theirs = row.ours(), row.theirs()
    row.agree(ours, theirs)
    with pytest.raises(AssertionError):
        row.agree(ours + 1, theirs)
