"""A network is an embed, a body and a head; nobody else knows all three."""

from typing import Any

from torch import Tensor, nn

from nnkit.layers.sequence import SequenceBody


class Network(nn.Module):
    """Chain of an embed (input to features), a body (features to features) and a head (features to outputs).

    Args:
        embed: Turns one kind of input into what the body eats.
        body: The model family.
        head: Turns the body's ``dim_out`` features into outputs.
    """

    def __init__(self, embed: nn.Module, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.embed = embed
        self.body = body
        self.head = head

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map inputs (batch, ...) to outputs (batch, dim); (batch, time, dim) with a head that looks at each step.

        Args:
            inputs: What the embed takes.
            mask: True where there is a step, (batch, time) bool; only for bodies that read sequences.
        """
        features = self.embed(inputs)
        if not isinstance(self.body, SequenceBody):
            outputs: Tensor = self.head(self.body(features))
            return outputs
        features, _ = self.body(features, mask)
        if not getattr(self.head, "each_step", False):
            features = self.body.summary(features, mask)
        scores: Tensor = self.head(features)
        return scores

    def step(self, tokens: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """Read on and score what may come next: all that generation knows of a network.

        Args:
            tokens: Those that come next in each text, (batch, time) int64.
            state: What the call before returned; None at the beginning.

        Returns:
            Scores of the token after the last one, (batch, vocab_size), and the state to go on from.
        """
        features, state = self.body(self.embed(tokens), None, state)
        return self.head(features[:, -1]), state
