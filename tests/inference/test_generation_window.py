"""Writing beyond what a network reads at a time: what a loop by hand writes, in as many steps as there are tokens."""

import math
from pathlib import Path

import pytest
import torch

import nnkit
from nnkit.decoding.sampling import Sampling, generate
from nnkit.embeds.tokens import Tokens
from nnkit.heads.language_model import LanguageModel
from nnkit.models.gpt import GPT
from nnkit.network import Network

VOCAB, WINDOW = 11, 8


def gpt(positions="learned"):
    torch.manual_seed(2)
    body = GPT(12, dim=12, num_layers=2, num_heads=2, max_len=WINDOW, positions=positions)
    # Larger weights than at the start of a training, so that what is read makes a difference.
    with torch.no_grad():
        for parameter in body.parameters():
            if parameter.ndim == 2:
                parameter.mul_(40)
    return Network(Tokens(VOCAB, dim=12), body, LanguageModel(12, vocab_size=VOCAB)).eval()


def written(network, prompt, length, max_len=WINDOW, temperature=0.0):
    begin = torch.tensor([prompt])
    chance = torch.Generator().manual_seed(0)
    drawn = generate(network.step, begin, length, Sampling(temperature), chance, max_len=max_len)
    return [int(token) for token in drawn]


def by_hand(network, prompt, length):
    """Score everything anew for each token: the network's whole window, cut to its latter half when it is full."""
    known, found = list(prompt), []
    for _ in range(length):
        if len(known) > WINDOW:
            known = known[-(WINDOW // 2) :]
        with torch.no_grad():
            scores = network(torch.tensor([known]))[0, -1]
        found.append(int(scores.argmax()))
        known.append(found[-1])
    return found


@pytest.mark.parametrize("positions", ["learned", "rotary"])
@pytest.mark.parametrize("size", [1, 5, 8])
def test_what_is_written_is_what_a_loop_without_a_cache_writes(positions, size):
    network = gpt(positions)
    prompt = [3, 1, 4, 1, 5, 9, 2, 6][:size]
    expected = by_hand(network, prompt, 30)
    assert len(set(expected)) > 2
    assert written(network, prompt, 30) == expected


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_within_the_window_nothing_is_different(temperature):
    network = gpt()
    length = WINDOW - 2 + 1
    inside = written(network, [3, 1], length, max_len=WINDOW, temperature=temperature)
    assert inside == written(network, [3, 1], length, max_len=None, temperature=temperature)


def test_the_work_is_in_proportion_to_the_length():
    network, read = gpt(), []
    whole = network.step
    network.step = lambda tokens, state: read.append(tokens.shape[1]) or whole(tokens, state)
    sums = []
    for length in (100, 200, 400):
        read.clear()
        written(network, [0], length)
        assert len(read) == length
        sums.append(sum(read))
    assert sums[2] <= 2 * 400
    assert sums[2] - sums[1] == pytest.approx(2 * (sums[1] - sums[0]), abs=WINDOW)


def test_a_window_of_one_token():
    network = gpt()
    assert len(written(network, [3], 5, max_len=1)) == 5


def test_a_prompt_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="the prompt has 9 tokens, more than can be read, 8"):
        written(gpt(), [0] * 9, 1)


def test_verbs_read_and_write_more_than_a_gpt_reads_at_a_time(cli):
    Path("text.txt").write_text("the cat sees a dog and the dog sees the cat\n" * 20)
    model = ["model=gpt", "model.dim=8", "model.num_layers=1", "model.num_heads=1"]
    data = ["data=text_file", "data.path=text.txt", "data.block_size=8", "trainer.max_steps=1"]
    nnkit.train([*data, *model, "callbacks=[checkpoint]", "logger=[]", "name=mine"])
    code, out, _ = cli("generate", "mine", "--prompt", "the cat", "--length", "40")
    assert (code, len(out.rstrip("\n"))) == (0, 47)
    code, _, err = cli("generate", "mine", "--prompt", "the cat sees")
    assert code == 2
    assert "the prompt has 12 tokens, and the model reads at most 8: shorten it" in err
    # Perplexity is that of pieces of eight, each scored from its own beginning.
    loaded = nnkit.load("mine")
    text = "the dog and the cat sees"
    (found,) = loaded.predict([text])
    numbers = torch.from_numpy(loaded.data.learnt_tokenizer.encode(text)).long()
    losses = []
    for start in range(0, len(numbers) - 1, 8):
        target = numbers[start + 1 : start + 9]
        with torch.no_grad():
            scores = loaded.network(numbers[None, start : start + 8][:, : len(target)])[0]
        losses += torch.nn.functional.cross_entropy(scores, target, reduction="none").tolist()
    assert len(losses) == len(text) - 1
    assert found.values["perplexity"] == pytest.approx(math.exp(sum(losses) / len(losses)), rel=1e-5)
