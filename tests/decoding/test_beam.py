"""Beam search: against brute force over every text, a plain search of one sample, and a greedy loop."""

import itertools
import math
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from nnkit.decoding.beam import Beam, reorder, search
from nnkit.embeds.pair_tokens import PairTokens
from nnkit.heads.language_model import LanguageModel
from nnkit.models.seq2seq_lstm import Seq2SeqLSTM
from nnkit.models.transformer import Transformer
from nnkit.network import Network

BEGIN, END, BANNED, VOCAB = 0, 1, 4, 5


def scores_of(sample, prefix):
    """Scores that every prefix of every sample has of its own."""
    number = sample
    for token in prefix:
        number = number * VOCAB + token + 1
    return torch.randn(VOCAB, generator=torch.Generator().manual_seed(number)) * 1.5


def step(tokens, state):
    samples, seen = state
    seen = tokens if seen is None else torch.cat([seen, tokens], dim=1)
    rows = zip(samples.tolist(), seen.tolist(), strict=True)
    return torch.stack([scores_of(sample, row[1:]) for sample, row in rows]), (samples, seen)


def answers(num_samples, beam, max_len, banned=(BEGIN, BANNED)):
    state = torch.arange(num_samples), None
    first = torch.full((num_samples, 1), BEGIN)
    return search(step, state, first, end=END, max_len=max_len, beam=beam, banned=banned)


def log_probabilities(sample, prefix):
    scores = scores_of(sample, prefix)
    scores[[BEGIN, BANNED]] = -math.inf
    return scores.log_softmax(-1).tolist()


def penalised(total, length, penalty):
    return total / ((5 + length) / 6) ** penalty


@pytest.mark.parametrize("penalty", [0.0, 0.6, 3.0])
def test_a_wide_beam_finds_what_trying_every_text_finds(penalty):
    expected = []
    for sample in range(3):
        texts = []
        for length in range(4):
            for text in itertools.product((2, 3), repeat=length):
                whole = (*text, END)
                total = sum(log_probabilities(sample, text[:n])[token] for n, token in enumerate(whole))
                texts.append((penalised(total, len(whole), penalty), text))
        expected.append(sorted(texts, reverse=True))
    found = answers(3, Beam(40, penalty), max_len=4)
    for several, texts in zip(found, expected, strict=True):
        assert [answer.tokens for answer in several[:15]] == [text for _, text in texts]
        assert [answer.score for answer in several[:15]] == pytest.approx([score for score, _ in texts])
        # Behind them stand texts without an end, which the beam has room for.
        assert all(len(answer.tokens) == 4 for answer in several[15:])


def one_by_one(sample, size, penalty, max_len):
    """The search as it is told of, for one sample and in plain lists."""
    going, ended = [(0.0, ())], []
    for length in range(1, max_len + 1):
        candidates = sorted(
            (
                (total + share, (*text, token))
                for total, text in going
                for token, share in enumerate(log_probabilities(sample, text))
                if share > -math.inf
            ),
            reverse=True,
        )
        ended += [
            (penalised(total, length, penalty), text[:-1])
            for total, text in candidates[:size]
            if text[-1] == END
        ]
        going = [(total, text) for total, text in candidates[: 2 * size] if text[-1] != END][:size]
        if len(ended) >= size:
            going = []
            break
    rest = [(penalised(total, max_len, penalty), text) for total, text in going]
    return (sorted(ended, reverse=True) + sorted(rest, reverse=True))[:size]


@pytest.mark.parametrize("size", [1, 2, 3, 6])
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_batch_side_by_side_is_each_sample_by_itself(size, penalty):
    found = answers(30, Beam(size, penalty), max_len=7)
    lengths = {len(several[0].tokens) for several in found}
    assert len(lengths) > 2
    for sample, several in enumerate(found):
        expected = one_by_one(sample, size, penalty, 7)
        assert [answer.tokens for answer in several] == [text for _, text in expected]
        assert [answer.score for answer in several] == pytest.approx(
            [score for score, _ in expected], abs=1e-5
        )


BODIES = {
    "luong": lambda: Seq2SeqLSTM(8, dim=8, num_layers=2),
    "bahdanau": lambda: Seq2SeqLSTM(8, dim=8, attention="bahdanau"),
    "transformer": lambda: Transformer(8, dim=8, num_heads=2),
}


@pytest.fixture(params=BODIES)
def network(request):
    torch.manual_seed(0)
    return Network(PairTokens(9, 7, dim=8), BODIES[request.param](), LanguageModel(8, 7)).eval()


def test_a_beam_of_one_takes_the_most_probable_token_each_time(network):
    inputs = torch.randint(2, 9, (20, 6), generator=torch.Generator().manual_seed(1))
    mask = torch.arange(6) < torch.tensor([6, 3, 1, 5] * 5)[:, None]
    found = search(
        network.step, network.begin(inputs, mask), torch.zeros(20, 1, dtype=torch.int64),
        end=END, max_len=9, beam=Beam(), banned=[BEGIN],
    )  # fmt: skip
    with torch.inference_mode():
        for number, (answer,) in enumerate(found):
            prefix, total = torch.tensor([[BEGIN]]), 0.0
            source = inputs[number : number + 1, : int(mask[number].sum())]
            while prefix.shape[1] <= 9 and (prefix.shape[1] == 1 or prefix[0, -1] != END):
                # The whole pass each time, without a state and without padding.
                scores = network(source, None, prefix)[0, -1]
                scores[BEGIN] = -math.inf
                total += scores.log_softmax(-1).max().item()
                prefix = torch.cat([prefix, scores.argmax().view(1, 1)], dim=1)
            text = [token for token in prefix[0, 1:].tolist() if token != END]
            assert list(answer.tokens) == text
            assert answer.score == pytest.approx(total, abs=1e-4)


def test_the_score_is_the_log_probability_that_the_network_gives_the_answer(network):
    inputs = torch.randint(2, 9, (4, 6), generator=torch.Generator().manual_seed(1))
    found = search(
        network.step, network.begin(inputs), torch.zeros(4, 1, dtype=torch.int64), end=END, max_len=8, beam=Beam(3)
    )  # fmt: skip
    for source, several in zip(inputs, found, strict=True):
        assert len(several) == 3
        assert [answer.score for answer in several] == sorted((a.score for a in several), reverse=True)
        for answer in several:
            whole = [*answer.tokens, END][:8]
            with torch.inference_mode():
                scores = network(source[None], None, torch.tensor([[BEGIN, *whole[:-1]]]))[0].log_softmax(-1)
            total = sum(scores[place, token].item() for place, token in enumerate(whole))
            assert answer.score == pytest.approx(total, abs=1e-4)


class Kept(NamedTuple):
    memory: Tensor
    rest: object


def test_states_of_any_nesting_are_reordered():
    memory = torch.arange(6).view(3, 2)
    state = Kept(memory, [(memory + 10, None), (memory + 20,)])
    found = reorder(state, torch.tensor([2, 0, 2, 1]))
    assert isinstance(found, Kept)
    assert found.memory.tolist() == [[4, 5], [0, 1], [4, 5], [2, 3]]
    assert found.rest[0][0].tolist() == [[14, 15], [10, 11], [14, 15], [12, 13]]
    assert found.rest[0][1] is None
    assert isinstance(found.rest[1], tuple)
    assert found.rest[1][0].shape == (4, 2)


@pytest.mark.parametrize("size", [1, 3])
def test_a_network_that_has_diverged_still_ends(size):
    def nan(tokens, state):
        return torch.full((len(tokens), VOCAB), math.nan), state

    found = search(
        nan, None, torch.zeros(2, 1, dtype=torch.int64), end=END, max_len=5, beam=Beam(size)
    )  # fmt: skip
    assert len(found) == 2
    assert all(math.isnan(several[0].score) for several in found)


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"size": 0}, "beam_size"),
        ({"length_penalty": -1.0}, "length_penalty"),
        ({"length_penalty": math.nan}, "length_penalty"),
    ],
)
def test_what_cannot_be_is_refused(wrong, name):
    with pytest.raises(ValueError, match=f"{name} must"):
        Beam(**wrong)


def test_an_answer_has_room_for_its_end():
    with pytest.raises(ValueError, match="max_len must be at least 1, not 0"):
        answers(1, Beam(), max_len=0)
    assert all(len(several[0].tokens) <= 1 for several in answers(5, Beam(), max_len=1))
