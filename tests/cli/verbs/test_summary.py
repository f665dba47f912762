"""`nnkit summary`: layers, shapes and parameters."""

from pathlib import Path

import pytest


def cells(out):
    lines = [line.split() for line in out.splitlines() if line.strip()]
    return {line[0]: line[1:] for line in lines}


def test_lenet5(cli):
    code, out, err = cli("summary", "model=lenet5", "data=mnist")
    assert (code, err) == (0, "")
    assert out.startswith("model=lenet5  data=mnist  head=classifier")
    rows = cells(out)
    assert rows["total"][0] == "61,706"
    assert rows["body.c3"] == ["Conv2d", "16", "x", "10", "x", "10", "2,416", "240,000"]
    assert "frozen" not in out
    assert not Path("outputs").exists()


def test_facts_of_a_users_file_are_read(cli):
    Path("rows.csv").write_text("a,b,kind\n" + "".join(f"{n},{n * n},{'xy'[n % 2]}\n" for n in range(50)))
    code, out, _ = cli("summary", "data=csv", "data.path=rows.csv", "model=mlp", "model.hidden=[5]")
    assert code == 0
    assert cells(out)["total"][0] == str((2 * 5 + 5) + (5 * 2 + 2))


@pytest.mark.parametrize(
    ("words", "hints"),
    [
        (["model=lenet", "seeed=1"], ["did you mean model=lenet5?", "did you mean seed=1?"]),
        (["model=lenet5", "data=iris"], ["does not take data=iris"]),
        (["model=lenet5", "model.embeds.pictures.size=20"], ["layer body.c5 (Linear) refuses"]),
        (["data=csv", "data.path=missing.csv"], ["missing.csv"]),
    ],
)
def test_every_mistake_is_a_sentence(cli, words, hints):
    code, out, err = cli("summary", *words)
    assert (code, out) == (2, "")
    assert all(hint in err for hint in hints)
    assert "Traceback" not in err
