"""Text from tokens: prompts, characters of several bytes, blanks between words, and where a text ends."""

import pytest
import torch

from nnkit.data.tokenizing import learn_tokenizer
from nnkit.decoding.sampling import Sampling
from nnkit.errors import UserError
from nnkit.inference.generation import continuations, encode_prompt, whole

TEXT = "Ångström walks home, slowly.\nThe cat 🐈 sees 日本 and sleeps.\n"


class Script(torch.nn.Module):
    """A language model that says tokens of a script, whatever it reads; one script a text of the batch."""

    def __init__(self, scripts, vocab_size, max_len=None):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.scripts, self.vocab_size = scripts, vocab_size
        self.max_len = max_len

    def step(self, tokens, state):
        place = state or 0
        said = torch.tensor([int(script[place % len(script)]) for script in self.scripts])
        return torch.nn.functional.one_hot(said, self.vocab_size).float() * 100, place + 1


def learnt(kind, with_unknown=False):
    return learn_tokenizer(kind, [TEXT], max_vocab=None, with_unknown=with_unknown)


def written(tokenizer, scripts, length, prompt="The", stop=()):
    """Return the pieces of each text."""
    network = Script([tokenizer.encode(script) for script in scripts], tokenizer.vocab_size)
    tokens = encode_prompt(tokenizer, prompt)
    options = {"sampling": Sampling(0), "seeds": (0,), "num_samples": len(scripts), "stop": stop}
    return list(continuations(network, tokenizer, tokens, length=length, **options))


@pytest.mark.parametrize("kind", ["characters", "bytes", "words", "bpe", "wordpiece"])
def test_pieces_make_the_text_that_decoding_at_once_makes(kind):
    tokenizer = learnt(kind)
    tokens = tokenizer.encode(TEXT)
    prompt = "The cat"
    (text,) = whole(written(tokenizer, [TEXT], len(tokens), prompt), 1)
    expected = tokenizer.decode([*tokenizer.encode(prompt), *tokens])
    assert prompt + text == expected


def test_characters_of_several_bytes_come_whole_and_one_without_its_end_not_at_all():
    tokenizer = learnt("bytes")
    pieces = [piece for (piece,) in written(tokenizer, ["a🐈日"], 7)]
    assert pieces == ["a", "", "", "", "🐈", "", "", ""]


def test_bytes_that_are_no_text_do_not_hold_up_what_follows():
    tokenizer = learnt("bytes")
    network = Script([[0xFF, 0x80, 0x41]], 256)
    pieces = continuations(network, tokenizer, [65], length=3, sampling=Sampling(0), seeds=(0,))
    assert whole(pieces, 1) == ["\ufffd\ufffdA"]


def test_a_text_ends_before_the_first_stop_and_the_others_go_on():
    tokenizer = learnt("characters")
    scripts = ["cat sees and sleeps", "walks home, slowly."]
    pieces = written(tokenizer, scripts, 19, stop=["s and", "sleeps and on"])
    assert whole(pieces, 2) == ["cat see", "walks home, slowly."]
    # What might become a stop is held back until it does not, so nothing has to be unsaid.
    assert [piece for piece, _ in pieces[6:8]] == ["e", ""]


def test_nothing_more_is_drawn_once_all_have_ended():
    pieces = written(learnt("characters"), ["cat sees", "cat sees"], 500, stop=["sees"])
    assert len(pieces) == len("cat sees")
    assert whole(pieces, 2) == ["cat ", "cat "]


def test_what_looked_like_a_stop_comes_at_the_end():
    assert whole(written(learnt("characters"), ["cat se"], 6, stop=["sees"]), 1) == ["cat se"]


@pytest.mark.parametrize("kind", ["characters", "words"])
def test_what_the_vocabulary_lacks_is_listed(kind):
    with pytest.raises(UserError, match="lacks: 'Ж', 'q'" if kind == "characters" else "lacks: 'Жq'"):
        encode_prompt(learnt(kind, with_unknown=True), "The Жq cat")


def test_an_empty_prompt_is_a_line_break_where_there_is_one():
    tokenizer = learnt("characters")
    assert encode_prompt(tokenizer, "") == tokenizer.encode("\n").tolist()
    with pytest.raises(UserError, match="give a word with --prompt"):
        encode_prompt(learn_tokenizer("characters", ["abc"], max_vocab=None, with_unknown=False), "")


def test_half_a_character_on_the_command_line_is_refused():
    with pytest.raises(UserError, match="not UTF-8"):
        encode_prompt(learnt("bytes"), "caf\udce9")


def test_the_unknown_token_is_never_said():
    tokenizer = learnt("words")
    network = Script([[tokenizer.unknown]], tokenizer.vocab_size)
    (text,) = whole(
        continuations(
            network, tokenizer, encode_prompt(tokenizer, "The"), length=30, sampling=Sampling(), seeds=(0,)
        ),
        1,
    )
    assert text
    assert "[UNK]" not in text


def test_a_prompt_longer_than_what_the_model_reads_is_refused():
    network = Script([[1]], 256, max_len=8)
    arguments = {"sampling": Sampling(0), "seeds": (0,)}
    with pytest.raises(UserError, match="the prompt has 9 tokens, and the model reads at most 8: shorten it"):
        next(continuations(network, learnt("bytes"), [65] * 9, length=1, **arguments))
    (text,) = whole(continuations(network, learnt("bytes"), [65] * 8, length=30, **arguments), 1)
    assert len(text) == 30


def test_equal_seeds_equal_texts_and_each_sample_its_own():
    tokenizer = learnt("characters")
    network = Script([[0], [0]], tokenizer.vocab_size)

    def texts(*seeds):
        arguments = {"length": 40, "sampling": Sampling(100.0), "num_samples": 2}
        return whole(continuations(network, tokenizer, [0], seeds=seeds, **arguments), 2)

    before = torch.get_rng_state()
    assert texts(1, 2) == texts(1, 2) != texts(1, 3)
    assert len(set(texts(1, 2))) == 2
    assert torch.equal(torch.get_rng_state(), before)
