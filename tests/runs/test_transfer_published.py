"""Runs that start from a directory of Hugging Face: what it decides, what may be typed, and runs written as one."""

import shutil
from pathlib import Path

import pytest
import torch
from hugging_face.peers import BERT, GPT2, VIT, edit, peer, written

import nnkit
from nnkit.checkpoint.store import CheckpointStore
from nnkit.errors import ConfigError, UserError
from nnkit.runs.reopen import open_run
from nnkit.runs.resuming import resume
from nnkit.runs.run import describe, find_run

ROWS = [("the cat sees a bird", "animal"), ("a car sees the road", "thing")] * 12
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOKENS = [*SPECIAL, "the", "cat", "sees", "a", "bird", "car", "road", *"bcdefghijklmnopqr"]
COMMON = [
    "logger=[]",
    "callbacks=[checkpoint]",
    "trainer.num_threads=1",
    "trainer.max_steps=2",
    "data.max_length=20",
]
STILL = ["optimizer=sgd", "optimizer.lr=0", "scheduler=constant"]


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    peer("BertForPreTraining", **BERT | {"vocab_size": len(TOKENS)}).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(TOKENS) + "\n")
    return folder


@pytest.fixture(autouse=True)
def files(sound):
    shutil.copytree(sound, "published")
    Path("rows.csv").write_text("text,kind\n" + "".join(f"{text},{kind}\n" for text, kind in ROWS))


def classifier(*words):
    rest = [] if any(word.startswith("init_from=") for word in words) else ["init_from=published"]
    return nnkit.train(["model=bert", "data=text_csv", "data.path=rows.csv", *rest, *COMMON, *words])


def weights(result):
    return open_run(result.run).session.task.network.state_dict()


def test_size_and_vocabulary_come_from_the_directory_and_no_other_word_is_needed(capfd):
    result = classifier(*STILL, "name=run")
    config = open_run(result.run).session.config
    assert (config.model.dim, config.model.num_layers, config.model.num_heads) == (24, 2, 3)
    assert (config.model.hidden, config.model.max_len, config.model.activation) == (40, 20, "gelu_tanh")
    assert (config.model.eps, config.model.dropout, config.data.tokenizer) == (1e-6, 0.0, "wordpiece")
    learnt = result.run.preprocessing()
    assert learnt["tokenizer"]["of"]["vocabulary"] == TOKENS
    assert learnt["tokenizer"]["ids"] == [0, 2, 3, 4]
    assert learnt["markers"] is True
    said = capfd.readouterr().out
    record = result.run.record()["init_from"]
    assert record["directory"] == str(Path("published").resolve())
    assert record["model_type"] == "bert"
    assert list(record["sha256"]) == ["model.safetensors"]
    assert record["settings"]["model.dim"] == 24
    assert record["fresh"] == ["head.linear.weight", "head.linear.bias"]
    assert all(name.startswith("cls.") for name in record["left"])
    assert "weights from published, bert" in said
    assert "left: cls." in said
    assert "fresh: head.linear.weight" in said
    assert "model.dim=24" in said
    theirs = peer("BertForPreTraining", **BERT | {"vocab_size": len(TOKENS)}).state_dict()
    ours = weights(result)["body.positions.weight"]
    assert torch.equal(ours, theirs["bert.embeddings.position_embeddings.weight"])


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("model.dim=32", "model.dim: 32 was given, published has 24"),
        ("model.activation=relu", "relu was given, published has gelu_tanh"),
        ("data.tokenizer=bpe", "data.tokenizer: bpe was given"),
        ("data.max_vocab=9", "data.max_vocab: 9 was given"),
        ("data.max_length=21", "21 tokens are more than the model reads, model.max_len=20"),
    ],
)
def test_words_that_contradict_it_are_refused_with_what_to_type(word, text):
    with pytest.raises(ConfigError, match=text):
        classifier(word, "name=never")
    assert not Path("outputs").exists()


def test_a_run_is_named_by_what_the_directory_holds(cli):
    words = ["model=bert_tiny", "data=text_csv", "data.path=rows.csv", *COMMON]
    code, out, err = cli("train", *words, "init_from=published")
    assert code == 0, err
    assert "bert from published on text_csv" in out
    run = find_run("last")
    assert run.path.parent.name == "bert-text_csv"
    assert describe(run, Path("outputs"))["model"] == "bert"
    assert describe(nnkit.train(words).run, Path("outputs"))["model"] == "bert_tiny"


def test_a_directory_where_a_run_is_needed_is_answered_with_how_one_is_made(cli):
    code, _, err = cli("export", "published", "--format", "onnx")
    assert code == 2
    assert "published is a published model, and a run is needed" in err
    assert "nnkit train model=... data=... init_from=published" in err


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (
            "google/vit-base",
            "no run 'google/vit-base'.*is no directory here either; nothing is fetched by the name",
        ),
        ("published/vocab.txt", "is a file\n    init_from=published names its directory"),
        ("empty", "empty has no config.json, so it is no published model either"),
        ("", "init_from: it names nothing\n    init_from=RUN, or init_from=DIR"),
    ],
)
def test_what_is_neither_a_run_nor_a_directory_is_answered_with_what_could_be_named(given, text):
    Path("empty").mkdir()
    with pytest.raises(UserError, match=f"(?s){text}"):
        classifier(f"init_from={given}", "name=never")
    assert not Path("outputs").exists()


def test_another_model_is_refused_with_the_one_that_fits():
    words = ["model=lstm", "data=text_csv", "data.path=rows.csv", "init_from=published", *COMMON]
    with pytest.raises(ConfigError, match=r"another model than published holds, a bert\n *model=bert"):
        nnkit.train(words)


def test_what_changes_no_weight_may_be_typed():
    config = classifier("model.dropout=0.2", "model.pooling=mean").run.path / "config.yaml"
    assert "dropout: 0.2" in config.read_text()
    assert "pooling: mean" in config.read_text()


def test_a_model_of_sentences_brings_its_mean():
    Path("published/1_Pooling").mkdir()
    Path("published/1_Pooling/config.json").write_text('{"pooling_mode_mean_tokens": true}')
    result = classifier()
    assert "body.pooler.weight" not in weights(result)
    assert "bert.pooler.dense.weight" in result.run.record()["init_from"]["left"]


def test_pre_training_goes_on_with_its_heads():
    Path("prose.txt").write_text("the cat sees a bird\na car sees the road\nthe road\n\n" * 30)
    words = [
        "model=bert",
        "data=text_pairs_file",
        "data.path=prose.txt",
        "init_from=published",
        *COMMON,
        *STILL,
    ]
    result = nnkit.train(words)
    record = result.run.record()["init_from"]
    assert record["fresh"] == [] and record["left"] == []
    theirs = peer("BertForPreTraining", **BERT | {"vocab_size": len(TOKENS)}).state_dict()
    assert torch.equal(weights(result)["head.follows.weight"], theirs["cls.seq_relationship.weight"])


def states(*results):
    return [CheckpointStore(one.run.checkpoints).load("last")[1]["state_dict"] for one in results]


def test_a_run_goes_on_without_the_directory_and_is_continued_by_the_same_command():
    words = ["trainer.max_steps=-1", "trainer.max_epochs=2", "data.batch_size=8", "scheduler=constant"]
    whole, parted = classifier(*words, "name=whole"), classifier(*words, "name=parted")
    store = CheckpointStore(parted.run.checkpoints)
    store.remove(store.manifests()[0])
    parted.run.update(status="stopped")
    again = classifier(*words, "name=parted", "auto_resume=true")
    assert again.run.path == parted.run.path
    store.remove(store.manifests()[0])
    parted.run.update(status="stopped")
    shutil.rmtree("published")
    resume("parted", show=False)
    one, other = states(whole, parted)
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def test_a_run_ended_before_its_first_checkpoint_reads_the_same_files_again():
    target = classifier("name=target")
    expected = states(target)[0]
    shutil.rmtree(target.run.checkpoints)
    target.run.update(status="stopped")
    shutil.move("published", "moved")
    with pytest.raises(UserError, match="are gone"):
        resume("target", show=False)
    shutil.move("moved", "published")
    resume("target", show=False)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in states(target)[0].items())
    shutil.rmtree(target.run.checkpoints)
    target.run.update(status="stopped")
    peer("BertForPreTraining", seed=1, **BERT | {"vocab_size": len(TOKENS)}).save_pretrained("published")
    with pytest.raises(UserError, match="no longer"):
        resume("target", show=False)


def test_a_run_is_written_and_another_starts_from_it_head_and_all():
    source = classifier("name=source")
    session = open_run(source.run).session
    written("written", session.task.network, session.config, source.run.preprocessing())
    target = classifier(*STILL, "init_from=written", "seed=3")
    record = target.run.record()["init_from"]
    assert record["fresh"] == [] and record["left"] == []
    expected = weights(source)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(target).items())
    before, after = (one.run.preprocessing()["tokenizer"] for one in (source, target))
    assert before == after
    with pytest.raises(UserError, match="is there already"):
        written("written", session.task.network, session.config)


def test_a_language_model_needs_a_tokenizer_and_learns_with_that_of_the_directory():
    peer("GPT2LMHeadModel", **GPT2 | {"vocab_size": 256}).save_pretrained("gpt")
    Path("prose.txt").write_text("the cat sees a dog and the dog sees the cat\n" * 20)
    words = [
        "model=gpt",
        "data=text_file",
        "data.path=prose.txt",
        "data.block_size=8",
        *COMMON[:-1],
        "init_from=gpt",
    ]
    with pytest.raises(UserError, match="has no tokenizer that could come along"):
        nnkit.train(words)
    from nnkit.data.tokenizing import learn_tokenizer
    from nnkit.hugging_face.vocabulary import write_tokenizer

    spec = learn_tokenizer("bytes", [], max_vocab=None, with_unknown=False).spec()
    for name, content in write_tokenizer(spec, 20).items():
        Path("gpt", name).write_bytes(content)
    edit("gpt/config.json", vocab_size=256)
    result = nnkit.train(words)
    assert result.run.record()["init_from"]["fresh"] == []
    assert open_run(result.run).session.config.model.max_len == 20


def test_pictures_must_have_the_size_that_the_weights_read(capfd):
    peer("ViTForImageClassification", **VIT | {"image_size": 8, "patch_size": 4}).save_pretrained("vit")
    Path("vit/preprocessor_config.json").write_text('{"image_mean": [0.5], "image_std": [0.5]}')
    words = ["model=vit", "data=digits", *COMMON[:-1], "init_from=vit"]
    result = nnkit.train(words)
    assert result.run.record()["init_from"]["fresh"] == ["head.linear.weight", "head.linear.bias"]
    assert "image_mean [0.5]" in capfd.readouterr().out
    peer("ViTForImageClassification", **VIT | {"image_size": 28, "patch_size": 4}).save_pretrained("vit")
    with pytest.raises(ConfigError, match=r"data\.height: the data have 8, vit reads 28"):
        nnkit.train(words)
