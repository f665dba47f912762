"""Why a request is not answered as it was meant to be: a status and a sentence."""

from nnkit.errors import NnkitError


class Refusal(NnkitError):
    """A request that is refused.

    Args:
        status: HTTP status code.
        text: What was given, what is expected, and what to send instead.
        headers: Further headers of the response.
    """

    exit_code = 2

    def __init__(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers or {}
