"""An encoder-decoder of LSTMs with attention: one reads the source in both directions, the other writes the target."""

import math
from abc import ABC, abstractmethod
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from nnkit.layers.checks import check_choice, check_dropout, check_positive
from nnkit.layers.probing import STEPS, Probe
from nnkit.layers.recurrent import LSTMLayers, Recurrent
from nnkit.layers.sequence import EncoderDecoder

AttentionName = Literal["luong", "bahdanau"]

# Hidden and cell state of the layers of torch's LSTM, (layers, batch, dim) each.
_Layers = tuple[Tensor, Tensor]


class Seq2SeqLSTM(EncoderDecoder):
    """Encoder-decoder of long short-term memories with attention.

    The encoder reads in both directions; h_j are its states, the memory. The decoder's states are s_t, the first made
    from the encoder's last ones, and the context c_t is the mean of the memory weighted by the softmax of scores
    (equations 5 and 6 of Bahdanau et al. 2015).

    - "luong" attends once s_t is known: score(s_t, h_j) = s_t . W h_j, "general" in equation 8 of Luong et al. 2015,
      "Effective approaches to attention-based neural machine translation", without their input feeding, so that one
      call of a fused kernel reads the whole target in training.
    - "bahdanau" attends before: score(s_(t-1), h_j) = v . tanh(W s_(t-1) + U h_j), and c_t goes into the step beside
      the token (Bahdanau et al. 2015, "Neural machine translation by jointly learning to align and translate"), step
      by step in training too.

    The features of both are tanh(W [c_t; s_t]) (equation 5 of Luong et al.). Both papers use other cells or outputs;
    here only the attention differs.

    Args:
        dim_in: Width of the vectors of tokens.
        dim: Width of the hidden state, of the encoder in each direction.
        num_layers: Layers of the encoder, and of the decoder.
        attention: How the decoder attends to the source.
        dropout: Probability that a hidden unit is set to zero while training, between layers, and in the outputs of the
            encoder and the decoder.

    Raises:
        ValueError: If a value is out of range.
    """

    def __init__(
        self,
        dim_in: int,
        *,
        dim: int = 128,
        num_layers: int = 1,
        attention: AttentionName = "luong",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value in (("dim_in", dim_in), ("dim", dim), ("num_layers", num_layers)):
            check_positive(name, value)
        check_dropout(dropout)
        check_choice("attention", attention, get_args(AttentionName))
        self.dim_out, self.num_layers = dim, num_layers
        self.encoder = Recurrent(
            LSTMLayers, dim_in, dim, num_layers, bidirectional=True, dropout=dropout, pooling="last"
        )
        memory_dim = self.encoder.dim_out  # 2 * dim
        self.first = nn.Linear(memory_dim, 2 * num_layers * dim)
        self.feeds = attention == "bahdanau"
        self.attention: Alignment = (Additive if self.feeds else General)(dim, memory_dim)
        width = dim_in + memory_dim if self.feeds else dim_in
        between = dropout if num_layers > 1 else 0.0
        self.decoder = LSTMLayers(width, dim, num_layers, dropout=between, batch_first=True)
        self.out = nn.Linear(dim + memory_dim, dim)
        self.dropout = nn.Dropout(dropout)

    def encode(self, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map a source (batch, source_time, dim_in) to its memory (batch, source_time, 2 * dim)."""
        memory: Tensor = self.encoder(source, mask)[0]
        return memory

    def decode(
        self, prefix: Tensor, memory: Tensor, mask: Tensor | None = None, state: Any = None
    ) -> tuple[Tensor, Any]:
        """Map what is written so far (batch, time, dim_in) to (batch, time, dim); see `EncoderDecoder`.

        The state holds hidden and cell state of the layers, (batch, layers, dim) each, and the keys of the memory.
        """
        hidden, cell, keys = self._first_state(memory, mask) if state is None else state
        # torch has the layers first: (layers, batch, dim).
        layers = hidden.transpose(0, 1).contiguous(), cell.transpose(0, 1).contiguous()
        if self.feeds:
            steps, context, weights, layers = self._step_by_step(prefix, layers, keys, memory, mask)
        else:
            steps, layers = self.decoder(prefix, layers)  # s_t for all t: (batch, time, dim)
            context, weights = self.attention(steps, keys, memory, mask)  # c_t: (batch, time, 2 * dim)
        if self.attention.record:
            self.attention.weights = weights.detach().unsqueeze(1)
        features = torch.tanh(self.out(torch.cat([steps, context], dim=-1)))  # Luong: equation 5
        return self.dropout(features), (layers[0].transpose(0, 1), layers[1].transpose(0, 1), keys)

    def _first_state(self, memory: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        ends = self.first(self.encoder.summary(memory, mask))  # (batch, 2 * layers * dim)
        hidden, cell = ends.unflatten(-1, (2, self.num_layers, -1)).unbind(1)  # (batch, layers, dim) each
        # The first hidden state is squashed like all others (Bahdanau: appendix A.2.2).
        return hidden.tanh(), cell, self.attention.key(memory)

    def _step_by_step(
        self, prefix: Tensor, layers: _Layers, keys: Tensor, memory: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, _Layers]:
        """Return states, contexts and weights of all steps, the time second, and the layers' last state."""
        found: list[tuple[Tensor, Tensor, Tensor]] = []
        for time in range(prefix.shape[1]):
            token = prefix[:, time : time + 1]  # (batch, 1, dim_in)
            top = layers[0][-1].unsqueeze(1)  # s_(t-1): (batch, 1, dim)
            context, weights = self.attention(top, keys, memory, mask)  # c_t: (batch, 1, 2 * dim)
            step, layers = self.decoder(torch.cat([token, context], dim=-1), layers)  # s_t: (batch, 1, dim)
            found.append((step, context, weights))
        steps, contexts, all_weights = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
        return steps, contexts, all_weights, layers

    def probe(self) -> list[Probe]:
        """Return the memory, what the encoder makes of the source."""
        return [Probe("encoder", self.encoder, STEPS)]


class Alignment(nn.Module, ABC):
    """Attention with one head whose values are the memory itself.

    Args:
        dim: Width of queries and keys.
        memory_dim: Width of the memory.

    Attributes:
        record: Whether the next call of the decoder keeps its weights.
        weights: The weights of the last recorded call, (batch, 1, time, source_time).
        is_cross: It attends to a memory.
    """

    is_cross = True

    def __init__(self, dim: int, memory_dim: int) -> None:
        super().__init__()
        self.key = nn.Linear(memory_dim, dim, bias=False)
        self.record = False
        self.weights: Tensor | None = None

    @abstractmethod
    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Compare queries (batch, time, dim) with keys (batch, source_time, dim): (batch, time, source_time)."""

    def forward(
        self, queries: Tensor, keys: Tensor, memory: Tensor, mask: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return contexts (batch, time, memory_dim) and weights (batch, time, source_time)."""
        scores = self.scores(queries, keys)  # e_tj: (batch, time, source_time)
        if mask is not None:
            scores = scores.masked_fill(~mask.unsqueeze(1), -math.inf)
        weights = scores.softmax(-1)  # alpha_tj (Bahdanau: equation 6; Luong: equation 7)
        return weights @ memory, weights  # c_t = sum over j of alpha_tj h_j (Bahdanau: equation 5)


class General(Alignment):
    """The "general" score of Luong et al. 2015, equation 8: s_t . W h_j, where the keys are W h_j."""

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return the products of queries and keys."""
        return queries @ keys.transpose(1, 2)


class Additive(Alignment):
    """The alignment model of Bahdanau et al. 2015, appendix A.1.2: v . tanh(W s_(t-1) + U h_j), with keys U h_j."""

    def __init__(self, dim: int, memory_dim: int) -> None:
        super().__init__(dim, memory_dim)
        self.query = nn.Linear(dim, dim)
        self.energy = nn.Linear(dim, 1, bias=False)

    def scores(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return v . tanh(the sum of a query and a key), for each query and each key."""
        sums = self.query(queries).unsqueeze(2) + keys.unsqueeze(1)  # (batch, time, source_time, dim)
        energies: Tensor = self.energy(sums.tanh()).squeeze(-1)
        return energies
