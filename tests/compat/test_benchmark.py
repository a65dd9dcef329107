"""The benchmark of compat runs: its smallest sizes, which also check that both variants agree."""

import importlib.util
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"


def test_every_function_is_measured_and_agrees_with_its_definition(capsys):
    spec = importlib.util.spec_from_file_location("benchmark_compat", FOLDER / "compat.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        spec.loader.exec_module(module)
        table = module.main(neurons=2, samples=600, frames=7, shape=(9, 11), repeats=1, scans=20)
    printed = capsys.readouterr().out
    operations = {line["operation"].partition(",")[0] for line in table}
    assert len(operations) == 34
    for line in table:
        assert line["operation"] in printed
        assert line["goal"] == ">= 1"
        assert line["ratio"] > 0
