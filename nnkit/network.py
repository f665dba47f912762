"""A network is an embed, a body and a head; nobody else knows all three."""

from torch import Tensor, nn


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

    def forward(self, inputs: Tensor) -> Tensor:
        """Map inputs (batch, ...) to outputs (batch, dim)."""
        outputs: Tensor = self.head(self.body(self.embed(inputs)))
        return outputs
