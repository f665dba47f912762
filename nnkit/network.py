"""A network is an embed, a body and a head; nobody else knows all three."""

from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from nnkit.layers.sequence import EncoderDecoder, SequenceBody, pool

Pooling = Literal["summary", "first", "last", "mean", "max"]


class Encoded(NamedTuple):
    """What an encoder-decoder continues to write from.

    Attributes:
        memory: The encoder's output, (batch, source_time, dim).
        mask: True where the source has a token, (batch, source_time) bool.
        state: The decoder's state; None at the beginning.
    """

    memory: Tensor
    mask: Tensor | None
    state: Any


class Network(nn.Module):
    """Chain of an embed (input to features), a body (features to features) and a head (features to outputs).

    Args:
        embed: Turns one kind of input into what the body eats.
        body: The model family.
        head: Turns the body's ``dim_out`` features into outputs.

    Raises:
        ValueError: If the head is to score with the embed's vectors, and the embed has none.
    """

    def __init__(self, embed: nn.Module, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.embed = embed
        self.body = body
        self.head = head
        self._tied = bool(getattr(head, "tied", False))
        if self._tied and not hasattr(embed, "token_vectors"):
            raise ValueError(f"tied: {type(embed).__name__} has no vector for each token that it could share")

    def forward(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        second: Tensor | None = None,
        where: Tensor | None = None,
    ) -> Any:
        """Map inputs (batch, ...) to outputs (batch, dim); (batch, time, dim) with a head that scores each step.

        Args:
            inputs: What the embed takes.
            mask: True where there is a step, (batch, time) bool; only for bodies that read sequences.
            second: Of an encoder-decoder what is written so far, (batch, time) int64; of sentence pairs the segment of
                each token, (batch, time) int64; of tables the categories that have vectors, (batch, columns) int64.
            where: True where a head that scores each step is to do so, (batch, time) bool; it returns (steps, dim)
                then. None: everywhere.

        Returns:
            The outputs; of a head that scores each step and their summary, a tuple of both outputs.
        """
        body = self.body
        head: Any = self.head
        if isinstance(body, EncoderDecoder):
            assert second is not None
            memory = body.encode(self.embed(inputs), mask)
            features, _ = body.decode(self._embedded_target(second), memory, mask)
            return self.read(features, where=where)
        features = self.embed(inputs) if second is None else self.embed(inputs, second)
        if not isinstance(body, SequenceBody):
            return head(body(features))
        features, _ = body(features, mask)
        return self.read(features, mask, where)

    def read(self, features: Tensor, mask: Tensor | None = None, where: Tensor | None = None) -> Any:
        """Return what the head makes of the features of a sequence, (batch, time, dim); see `forward`.

        Args:
            features: What the body returned, or what a layer of it did, where the head is to read that.
            mask: As for `forward`.
            where: As for `forward`.
        """
        body = self.body
        head: Any = self.head
        if isinstance(body, EncoderDecoder) or getattr(head, "each_step", False):
            return self._scores(features, where)
        assert isinstance(body, SequenceBody)
        summary = body.summary(features, mask)
        if getattr(head, "each_step_and_summary", False):
            return self._scores(features, where), head.next_sentence(summary)
        return head(summary)

    def vectors(
        self,
        inputs: Tensor,
        mask: Tensor | None = None,
        second: Tensor | None = None,
        pooling: Pooling = "summary",
    ) -> Tensor:
        """Map inputs (batch, ...) to one vector each, (batch, dim): what the head would read.

        Args:
            inputs: As for `forward`.
            mask: As for `forward`.
            second: As for `forward`; of an encoder-decoder it is not read.
            pooling: What of a sequence's features is returned: the body's own "summary" (the class token, the last
                step or a mean, as the family has it; of an encoder-decoder the mean), the "first" or the "last" step,
                or the "mean" or the "max" over all steps.

        Raises:
            ValueError: If the body gives one vector and no sequence, and it is to be pooled otherwise.
        """
        body = self.body
        if isinstance(body, EncoderDecoder):
            memory = body.encode(self.embed(inputs), mask)
            return pool(memory, mask, "mean" if pooling == "summary" else pooling)
        features = self.embed(inputs) if second is None else self.embed(inputs, second)
        if not isinstance(body, SequenceBody):
            if pooling != "summary":
                raise ValueError(f"{type(body).__name__} gives one vector: there are no steps to pool")
            vectors: Tensor = body(features)
            return vectors
        features, _ = body(features, mask)
        return body.summary(features, mask) if pooling == "summary" else pool(features, mask, pooling)

    def _embedded_target(self, tokens: Tensor) -> Tensor:
        embed: Any = self.embed
        vectors: Tensor = embed.target(tokens)
        return vectors

    def _scores(self, features: Tensor, where: Tensor | None = None) -> Tensor:
        """Return the head's scores of steps, with the vectors it shares with the embed if it does."""
        if where is not None:
            features = features[where]
        # Handed over at each call, so that the tensor has one name.
        scores: Tensor = self.head(features, self.embed.token_vectors) if self._tied else self.head(features)
        return scores

    @property
    def max_len(self) -> int | None:
        """Tokens that the network reads at most; None: no limit."""
        limits = [getattr(part, "max_len", None) for part in (self.embed, self.body)]
        return min((limit for limit in limits if isinstance(limit, int)), default=None)

    def begin(self, inputs: Tensor, mask: Tensor | None = None) -> Encoded:
        """Read sources, (batch, source_time) int64; `step` writes from the state that is returned."""
        assert isinstance(self.body, EncoderDecoder)
        return Encoded(self.body.encode(self.embed(inputs), mask), mask, None)

    def step(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Read on and score what may come next: all that generation knows of a network.

        Args:
            tokens: Those that come next in each text, (batch, time) int64; of an encoder-decoder the
                beginning-of-sequence token first.
            state: What the call before returned; at the beginning None, or what `begin` returned.

        Returns:
            Scores of the token after the last one, (batch, vocab_size), and the state to go on from.
        """
        if isinstance(state, Encoded):
            assert isinstance(self.body, EncoderDecoder)
            features, inner = self.body.decode(self._embedded_target(tokens), *state)
            return self._scores(features[:, -1]), state._replace(state=inner)
        features, state = self.body(self.embed(tokens), None, state)
        return self._scores(features[:, -1]), state
