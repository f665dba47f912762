"""docs/performance.md is drawn by `python -m benchmarks`, as its present version would draw it."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def subjects(monkeypatch):
    """Make the benchmarks importable by their bare names."""
    monkeypatch.syspath_prepend(BENCHMARKS)


def measured(text):
    """Return the parts that a page has a place for, in order."""
    return re.findall(r"<!-- measured: (\w+) -->", text)


def cost(lines, wall, peak=0.0):
    return lines.Cost(wall, wall / 2, peak)


def test_the_page_is_as_the_present_code_draws_it(subjects):
    import page

    text = (ROOT / "docs" / page.PAGE).read_text(encoding="utf-8")
    results = page.load(ROOT / "docs")
    names = measured(text)
    assert set(results) <= set(names)
    assert page.render(text, {name: results.get(name) for name in names}) == text
    for name in results:
        assert f"performance-{name}.svg" not in text or (ROOT / "docs" / f"performance-{name}.svg").exists()


def test_a_page_without_a_place_for_a_part_is_refused(subjects):
    import page

    with pytest.raises(ValueError, match="no one place for gpt: write `<!-- measured: gpt -->`"):
        page.render("# Performance\n", {"gpt": None})
    with pytest.raises(ValueError, match="places for other parts than there are: old"):
        page.render("<!-- measured: old -->\n<!-- end of old -->\n", {})


def test_a_line_shows_medians_ratios_and_whether_a_limit_holds(subjects, tmp_path):
    import lines

    walls = {"loop": iter([2.0, 4.0]), "fast": iter([1.0, 3.0]), "slow": iter([4.0, 4.0])}
    cases = {name: lambda name=name: cost(lines, next(walls[name]), 100.0) for name in walls}
    of_fast = lines.Limit(1.5, beside="fast")
    limits = {
        "fast": (lines.Limit(0.75), lines.Limit(9, beside="absent")),
        "slow": (lines.Limit(10, "wall"), lines.Limit(500, "peak"), of_fast),
    }
    group = lines.Group({**cases, "absent": None}, limits, noise=False)
    found = [line.cells() for line in group.measure(lines.Setting(2, True, tmp_path))]
    # The ratios of fast are 1/2 and 3/4, round by round; those of slow 2 and 1, and 4 and 4/3 of fast.
    assert found == [
        ["loop", "2", "3.00 s", "1.50 s", "", "", "100", ""],
        ["fast", "2", "2.00 s", "1.00 s", "0.62 (0.50 to 0.75)", "0.62", "100", "at most 0.75: yes"],
        [
            "slow",
            "2",
            "4.00 s",
            "2.00 s",
            "1.50 (1.00 to 2.00)",
            "1.50",
            "100",
            "**at most 10 s, at most 500 MiB, at most 1.5 of fast: no**",
        ],
        ["absent", "2", "not installed", "", "", "", "", ""],
    ]
    assert all(len(cells) == len(lines.COLUMNS) for cells in found)


def test_a_rate_is_shown_instead_of_seconds_and_the_first_has_a_second_turn(subjects, tmp_path):
    import lines

    group = lines.Group({"read": lambda: cost(lines, 2.0)}, count=5000, unit="rows")
    first, again = group.measure(lines.Setting(1, True, tmp_path))
    assert first.cells()[2:4] == ["2,500 rows/s", "5,000 rows/s"]
    assert (again.what, str(again.ratio)) == (lines.AGAIN, "1.00 (1.00 to 1.00)")
    assert lines.from_plain(json.loads(json.dumps(asdict(again)))) == again


def test_turns_alternate_and_warm_rounds_are_not_kept(subjects):
    import measuring

    called = []
    cases = {name: lambda name=name: called.append(name) or len(called) for name in "ab"}
    found = measuring.take_turns(cases, 2, warm=1)
    assert "".join(called) == "baabba"
    assert found == {"a": [3, 6], "b": [4, 5]}


def test_what_a_program_takes_is_counted_beyond_its_imports(subjects):
    import measuring

    work = "block = bytearray(64 << 20)\nanswer = sys.argv[1]\nfinish()\nos._exit(0)"
    found = measuring.program(work, "word", imports="time.sleep(2)")
    assert found.answer == "word"
    assert found.start >= 2 > found.wall > 0
    assert 64 <= found.beyond < 96 <= 64 + found.peak
    with pytest.raises(RuntimeError, match="ValueError: broken"):
        measuring.program("raise ValueError('broken')")


def test_a_quick_run_fills_its_own_place_on_the_page_and_no_other(tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("performance.md", "performance.json"):
        shutil.copy(ROOT / "docs" / name, docs)
    before = (docs / "performance.md").read_text(encoding="utf-8")
    command = [sys.executable, "-m", "benchmarks", "--quick", "--only", "generation", "--docs", str(docs)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((docs / "performance.json").read_text())["generation"]
    assert (found["quick"], found["error"]) == (True, "")
    assert [line["at"] for line in found["lines"] if line["contender"] == "with the cache"] == [8, 16]
    after = (docs / "performance.md").read_text(encoding="utf-8")
    begin, end = "<!-- measured: generation -->", "<!-- end of generation -->"
    assert before.partition(begin)[0] == after.partition(begin)[0]
    assert before.partition(end)[2] == after.partition(end)[2]
    filled = after.partition(begin)[2].partition(end)[0]
    assert "show that everything runs" in filled
    assert filled.count("\n| with the cache, tokens ") == 2
    assert "<svg" in (docs / "performance-generation.svg").read_text()
