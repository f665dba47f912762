"""Drawing tokens: against brute force, by counts, and step by step against the whole pass."""

import itertools
import math

import pytest
import torch

from nnkit.decoding.sampling import Sampling, filter_logits, generate, sample
from nnkit.embeds.tokens import Tokens
from nnkit.heads.language_model import LanguageModel
from nnkit.models.gru import GRU
from nnkit.models.lstm import LSTM
from nnkit.models.rnn import RNN
from nnkit.network import Network


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def allowed(logits, top_k, top_p):
    """Return the tokens drawn from, found by trying every set of them."""
    numbers = sorted(range(len(logits)), key=lambda number: -logits[number])[:top_k]
    total = sum(math.exp(logits[number]) for number in numbers)
    shares = {number: math.exp(logits[number]) / total for number in numbers}
    if top_p is None:
        return set(numbers)
    for size in range(1, len(numbers) + 1):
        reaching = [
            chosen
            for chosen in itertools.combinations(numbers, size)
            if sum(shares[number] for number in chosen) >= top_p
        ]
        if reaching:
            return set(max(reaching, key=lambda chosen: sum(shares[number] for number in chosen)))
    raise AssertionError


@pytest.mark.parametrize("top_k", [None, 1, 3, 50])
@pytest.mark.parametrize("top_p", [None, 0.05, 0.6, 0.95])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_what_is_left_is_what_trying_every_set_finds(top_k, top_p, temperature):
    logits = torch.randn(5, 7, generator=generator(), dtype=torch.float64) * 2
    left = filter_logits(logits, Sampling(temperature, top_k, top_p))
    for row, kept in zip(logits.tolist(), left, strict=True):
        scaled = [value / temperature for value in row]
        expected = allowed(scaled, top_k, top_p)
        assert set(kept.isfinite().nonzero().flatten().tolist()) == expected
        # Those that are left keep their ratios.
        total = sum(math.exp(scaled[number]) for number in expected)
        for number in expected:
            assert kept.softmax(-1)[number].item() == pytest.approx(math.exp(scaled[number]) / total)


def test_ties_leave_exactly_k_and_all_of_the_probability_leaves_all():
    assert filter_logits(torch.zeros(2, 6), Sampling(top_k=2)).isfinite().sum(-1).tolist() == [2, 2]
    logits = torch.linspace(0, -60, 400).expand(1, -1)
    assert filter_logits(logits, Sampling(top_p=1.0)).isfinite().all()


def test_tokens_come_as_often_as_the_model_says():
    logits = torch.tensor([[0.0, 1.0, -1.0, 2.0]])
    drawn = sample(logits.expand(20_000, -1), Sampling(0.7), generator())
    shares = torch.bincount(drawn, minlength=4) / len(drawn)
    assert shares.tolist() == pytest.approx((logits[0] / 0.7).softmax(-1).tolist(), abs=0.012)


@pytest.mark.parametrize("temperature", [0.0, 1e-40, 1e-6])
def test_no_or_hardly_any_temperature_takes_the_most_probable(temperature):
    logits = torch.tensor([[1.0, 3.0, 2.0], [300.0, -300.0, 299.0]])
    assert sample(logits, Sampling(temperature), generator()).tolist() == [1, 0]


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -0.1},
        {"temperature": math.nan},
        {"temperature": math.inf},
        {"top_k": 0},
        {"top_p": 0.0},
        {"top_p": 1.1},
    ],
)
def test_what_cannot_be_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"{name} must"):
        Sampling(**wrong)


def test_a_diverged_network_is_named():
    with pytest.raises(ValueError, match="not finite"):
        sample(torch.tensor([[0.0, math.nan]]), Sampling(), generator())


@pytest.mark.parametrize("body_class", [RNN, LSTM, GRU])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_step_by_step_is_the_whole_pass_each_time(body_class, temperature):
    torch.manual_seed(1)
    embed = Tokens(11, dim=8)
    body = body_class(8, dim=16, num_layers=2)
    network = Network(embed, body, LanguageModel(16, 11)).eval()

    def from_the_beginning(tokens, state):
        seen = tokens if state is None else torch.cat([state, tokens], 1)
        return network(seen)[:, -1], seen

    prompt = torch.tensor([[1, 2, 3], [4, 5, 6]])
    sampling = Sampling(temperature)
    fast, slow = (
        torch.stack(list(generate(step, prompt, 20, sampling, generator(3))))
        for step in (network.step, from_the_beginning)
    )
    assert fast.shape == (20, 2)
    assert torch.equal(fast, slow)


def test_banned_tokens_never_come_and_the_global_generator_stays():
    def step(tokens, state):
        return torch.tensor([[5.0, 0.0, 0.0]]).expand(len(tokens), -1), None

    before = torch.get_rng_state()
    prompt = torch.zeros(4, 1, dtype=torch.int64)
    drawn = torch.stack(list(generate(step, prompt, 50, Sampling(), generator(), banned=[0])))
    assert set(drawn.flatten().tolist()) == {1, 2}
    assert torch.equal(torch.get_rng_state(), before)


def test_what_takes_the_tokens_is_not_put_into_inference_mode():
    def step(tokens, state):
        assert torch.is_inference_mode_enabled()
        return torch.zeros(1, 3), None

    for _ in generate(step, torch.zeros(1, 1, dtype=torch.int64), 2, Sampling(), generator()):
        assert not torch.is_inference_mode_enabled()
