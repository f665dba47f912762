"""The script for a machine with a GPU: every part runs on a processor, and a part that goes wrong stops no other."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

# A process of its own, as the parts are copies of it.
BROKEN = """
import json, os, sys, time
from dataclasses import asdict, dataclass
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from guarded import Part, run_parts
@dataclass
class Row:
    what: str
    value: float
    holds: bool | None = None
def good():
    yield Row("answer", 42.0, True)
def wrong():
    yield Row("answer", 41.0, False)
def raises():
    yield Row("first", 1.0)
    raise ValueError("no kernel for this device")
def hangs():
    yield Row("first", 1.0)
    print("waiting for the device", flush=True)
    time.sleep(600)
def dies():
    yield Row("first", 1.0)
    os._exit(9)
parts = {one.__name__: Part(one, 2.0 if one is hangs else 60.0) for one in (raises, hangs, dies, wrong, good)}
outcomes = list(run_parts(parts, Path.cwd(), 60.0))
late = list(run_parts({"late": Part(good, 60.0)}, Path.cwd(), 0.0))
print(json.dumps([{**asdict(one), "good": one.is_good} for one in [*outcomes, *late]]))
"""


def test_a_part_that_goes_wrong_is_reported_and_the_others_go_on():
    done = subprocess.run(
        [sys.executable, "-c", BROKEN, str(BENCHMARKS)], capture_output=True, text=True, check=True
    )
    found = {one["name"]: one for one in json.loads(done.stdout.splitlines()[-1])}
    assert [name for name, one in found.items() if one["good"]] == ["good"]
    assert "ValueError: no kernel for this device" in found["raises"]["error"]
    assert "its limit of 2 s" in found["hangs"]["error"]
    assert "waiting for the device" in found["hangs"]["error"]
    assert "exit status 9" in found["dies"]["error"]
    assert found["wrong"]["error"] == ""
    assert "not begun" in found["late"]["error"]
    # What was measured before is not lost.
    assert all(found[name]["rows"][0]["value"] == 1.0 for name in ("raises", "hangs", "dies"))


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Run all parts, tiny."""
    output = tmp_path_factory.mktemp("gpu") / "gpu.json"
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "gpu.py"), "--small", "--output", str(output)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done, json.loads(output.read_text())


@pytest.mark.slow
def test_every_part_runs_on_a_processor(report):
    done, found = report
    assert done.returncode == 0, done.stdout + done.stderr
    assert found["bad"] == []
    assert [part["name"] for part in found["parts"]] == [
        *("machine", "precision", "scaler", "resume", "throughput"),
        *("memory", "transfers", "channels_last", "compiled", "errors"),
    ]
    for part in found["parts"]:
        assert part["rows"], part["name"]
        assert f"## {part['name']}, " in done.stdout


@pytest.mark.slow
def test_its_figures_are_what_they_are_called(report):
    rows = {part["name"]: part["rows"] for part in report[1]["parts"]}
    assert [row["value"] for row in rows["resume"]] == [1.0, 1.0]
    families = {row["what"].partition(",")[0] for row in rows["throughput"]}
    assert families == {"GPT", "BERT", "LeNet-5", "ResNet-20", "LSTM"}
    speeds = {(row["what"], row["unit"]): row["value"] for row in rows["throughput"]}
    # Two samples of 16 tokens a step.
    milliseconds, tokens = speeds["GPT, nnkit", "ms"], speeds["GPT, nnkit", "tokens/s"]
    assert tokens * milliseconds / 1e3 == pytest.approx(32)
    assert 0 < speeds["GPT, nnkit", "of measured products"] < 1
    assert all(row["value"] == 0 for row in rows["errors"])
