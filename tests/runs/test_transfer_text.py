"""Weights of one run on texts, another one that starts from them: the vocabulary comes along, or is refused."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import nnkit
from nnkit.checkpoint.store import CheckpointStore
from nnkit.errors import ConfigError, UserError
from nnkit.runs.reopen import open_run
from nnkit.runs.resuming import resume

PROSE = "the cat sees a dog and the dog sees the cat\n" * 20
ROWS = [("the cat sees a bird", "animal"), ("a car sees the road", "thing")] * 12
COMMON = ["logger=[]", "callbacks=[checkpoint]", "trainer.num_threads=1", "trainer.max_steps=2"]
STILL = ["optimizer=sgd", "optimizer.lr=0", "scheduler=constant"]
LSTM = ["model=lstm", "model.dim=8"]


@pytest.fixture(autouse=True)
def files():
    Path("prose.txt").write_text(PROSE)
    Path("rows.csv").write_text("text,kind\n" + "".join(f"{text},{kind}\n" for text, kind in ROWS))


def language_model(*words, path="prose.txt"):
    small = ["data=text_file", f"data.path={path}", "data.block_size=8", *LSTM, *COMMON]
    return nnkit.train([*small, *words])


def classifier(*words):
    model = [] if any(word.startswith("model=") for word in words) else LSTM
    return nnkit.train(["data=text_csv", "data.path=rows.csv", *model, *COMMON, *words])


def spec(result):
    return result.run.preprocessing()["tokenizer"]


def weights(result):
    return open_run(result.run).session.task.network.state_dict()


def test_a_classifier_starts_from_a_language_model_with_its_vocabulary(capfd):
    source = language_model("data.tokenizer=words", "name=source")
    # What the rows alone would be read with, and their words.
    assert spec(classifier("data.tokenizer=words")) != spec(source)
    capfd.readouterr()
    target = classifier(*STILL, "init_from=source", "seed=3")
    assert spec(target) == spec(source)
    there, here = weights(source), weights(target)
    taken = {name for name in here if name in there and torch.equal(here[name], there[name])}
    assert {name for name in here if not name.startswith("head.")} <= taken
    (said,) = [line for line in capfd.readouterr().out.splitlines() if line.startswith("weights from")]
    count = sum(not name.startswith("head.") for name in here)
    assert said.endswith(f"{count} tensors taken (embed, body); fresh: head.linear.weight, head.linear.bias")
    record = target.run.record()["init_from"]
    assert record["run"] == str(source.run.path.resolve())
    assert record["taken"] == count
    assert record["fresh"] == ["head.linear.weight", "head.linear.bias"]
    manifest, _ = CheckpointStore(source.run.checkpoints).load("best")
    assert (record["checkpoint"], record["sha256"]) == (manifest.name, manifest.sha256)
    # The config speaks of the tokenizer that is at work.
    (line,) = [
        line for line in (target.run.path / "config.yaml").read_text().splitlines() if "tokenizer:" in line
    ]
    assert line.strip() == "tokenizer: words"


def test_another_text_is_read_with_the_vocabulary_of_the_first():
    source = language_model("name=source")
    Path("more.txt").write_text("a dog and a cat\n" * 60)
    target = language_model(*STILL, "init_from=source", path="more.txt")
    assert spec(target) == spec(source)
    assert all(torch.equal(tensor, weights(source)[name]) for name, tensor in weights(target).items())


def test_characters_that_the_vocabulary_lacks_are_refused_and_nothing_is_written():
    language_model("name=source")
    Path("more.txt").write_text("a dog? and a cat!\n" * 60)
    with pytest.raises(
        UserError, match=r"init_from: the text has characters that the vocabulary lacks: '\?', '!'"
    ):
        language_model("init_from=source", "name=target", path="more.txt")
    with pytest.raises(UserError, match=r"init_from: the text has characters .*\n.*the run whose weights"):
        classifier("init_from=source", "name=target")
    assert not Path("outputs/target").exists()


def test_what_a_character_vocabulary_lacks_is_the_answer_to_that_item_only():
    language_model("name=source")
    Path("rows.csv").write_text("text,kind\n" + "the cat,one\na dog,two\n" * 12)
    target = classifier("init_from=source")
    good, bad = nnkit.load(target.run).predict(["the dog", "why?"])
    assert good.label in ("one", "two")
    assert "characters that the vocabulary lacks: 'w', 'y', '?'" in bad.reason


def test_another_vocabulary_that_is_typed_is_refused_by_every_verb(cli):
    language_model("data.tokenizer=words", "data.max_vocab=7", "name=source")
    for word, said in (
        ("data.tokenizer=bpe", "data.tokenizer: bpe was given, the run it starts from has words"),
        ("data.max_vocab=5", "data.max_vocab: 5 was given, the run it starts from has 7"),
        ("data.markers=true", "data.markers: the vocabulary of the run it starts from has no marks"),
    ):
        with pytest.raises(ConfigError, match=said):
            classifier("init_from=source", word, "name=target")
        assert not Path("outputs/target").exists()
    code, _, err = cli("summary", "data=text_csv", "data.path=rows.csv", *LSTM, "init_from=source", word)
    assert code == 2
    assert said in err
    # The same words as those of the run contradict nothing.
    assert classifier("init_from=source", "data.tokenizer=words", "data.max_vocab=9")


def test_summary_counts_the_vocabulary_that_comes_along(cli):
    language_model("data.tokenizer=words", "name=source")
    code, out, _ = cli(
        "summary", "data=text_csv", "data.path=rows.csv", "data.max_length=4", *LSTM, "init_from=source"
    )
    assert code == 0
    (count,) = [line.split()[-1] for line in out.splitlines() if "Embedding" in line]
    size = nnkit.load("source").data.facts()["vocab_size"]
    # Each character of the rows would be a token otherwise.
    assert size == 8 < len(set("".join(text for text, _ in ROWS)))
    assert count == f"{size * 128:,}"


def test_a_run_without_a_vocabulary_is_refused():
    nnkit.train(["data=iris", "model=mlp", *COMMON, "name=table"])
    with pytest.raises(UserError, match=r"outputs/table has no tokenizer that could come along"):
        classifier("init_from=table", "name=target")
    assert not Path("outputs/target").exists()


def test_special_tokens_come_along_where_the_vocabulary_has_them():
    encoder = ["model=transformer_encoder", "model.dim=8", "model.num_layers=1"]
    source = classifier(*encoder, "data.markers=true", "data.tokenizer=words", "name=source")
    target = classifier(*encoder, *STILL, "init_from=source")
    assert target.run.preprocessing()["markers"] is True
    assert spec(target) == spec(source)
    plain = classifier(*encoder, "init_from=source", "data.markers=false")
    assert plain.run.preprocessing()["markers"] is False


def test_a_head_for_other_classes_is_left_fresh_even_if_it_fits():
    source = classifier("data.tokenizer=words", "name=source")
    again = classifier(*STILL, "init_from=source", "seed=1")
    assert again.run.record()["init_from"]["fresh"] == []
    Path("rows.csv").write_text(Path("rows.csv").read_text().replace("thing", "object"))
    other = classifier(*STILL, "init_from=source", "seed=1")
    assert other.run.record()["init_from"]["fresh"] == ["head.linear.weight", "head.linear.bias"]
    assert torch.equal(weights(again)["head.linear.weight"], weights(source)["head.linear.weight"])
    assert not torch.equal(weights(other)["head.linear.weight"], weights(source)["head.linear.weight"])


def test_more_layers_than_the_model_has_are_refused_too():
    language_model("model.num_layers=2", "data.tokenizer=words", "name=source")
    with pytest.raises(UserError, match=r"body\.layers\S+_l1: \(32, 8\) there, missing here"):
        classifier("init_from=source", "model.num_layers=1", "name=target")
    assert not Path("outputs/target").exists()


def states(*results):
    return [CheckpointStore(one.run.checkpoints).load("last")[1]["state_dict"] for one in results]


def test_a_run_goes_on_without_the_one_it_began_with():
    language_model("data.tokenizer=words", "name=source")
    words = ["init_from=source", "trainer.max_steps=-1", "trainer.max_epochs=2", "data.batch_size=8"]
    whole = classifier(*words, "name=whole")
    parted = classifier(*words, "name=parted")
    store = CheckpointStore(parted.run.checkpoints)
    store.remove(store.manifests()[0])
    parted.run.update(status="stopped")
    shutil.rmtree("outputs/source")
    resume("parted", show=False)
    one, other = states(whole, parted)
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def before_its_first_checkpoint():
    language_model("data.tokenizer=words", "name=source")
    target = classifier("init_from=last", "name=target")
    shutil.rmtree(target.run.checkpoints)
    target.run.update(status="stopped")
    return target


def test_a_run_ended_before_its_first_checkpoint_takes_the_same_weights_again():
    target = before_its_first_checkpoint()
    whole = classifier("init_from=source", "name=whole")
    # The word "last" would mean another run by now.
    resume("target", show=False)
    one, other = states(whole, target)
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_weights_that_are_gone_or_others_by_now_are_refused():
    before_its_first_checkpoint()
    source = nnkit.load("source").run
    record = Path("outputs/target/run.json")
    begun = json.loads(record.read_text())
    begun["init_from"]["sha256"] = "0" * 64
    record.write_text(json.dumps(begun))
    with pytest.raises(
        UserError, match=r"holds no checkpoint, and the weights .* are no longer its best ones"
    ):
        resume("target", show=False)
    shutil.rmtree(source.path)
    with pytest.raises(UserError, match=r"are gone: .*source\n    start a new run"):
        resume("target", show=False)


def test_auto_resume_knows_its_run_by_what_was_typed():
    language_model("data.tokenizer=words", "name=source")
    words = ["init_from=source", "name=mine", "auto_resume=true"]
    first = classifier(*words)
    shutil.rmtree("outputs/source")
    assert classifier(*words).run.record()["end"] == first.run.record()["end"]
    with pytest.raises(UserError, match="was started with another config"):
        classifier("init_from=other", *words[1:])
