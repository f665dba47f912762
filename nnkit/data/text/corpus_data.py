"""What data made of the files of a text share: the files, and that they are those that a run was prepared with."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from nnkit.data.base import DataModule
from nnkit.data.text.corpus import Corpus
from nnkit.data.text.token_cache import Scan, changes, scan


@dataclass(kw_only=True, eq=False)
class CorpusData(DataModule):
    """Base of data whose samples are cut from the files of a text, tokens in the cache."""

    @abstractmethod
    def corpus(self) -> Corpus:
        """Find or make the files of the text; called again for each verb, so what is made is kept in the cache.

        Raises:
            UserError: If the user named files that cannot be used.
            EnvironmentFault: If they cannot be had.
        """

    def scanned(self) -> tuple[Corpus, Scan]:
        """Return the text and what `scan` returns for it.

        Raises:
            UserError: If it is another one than that which the run was prepared with.
        """
        corpus = self.corpus()
        scanned = scan(corpus)
        reasons = changes(scanned, self.preprocessing.get("sources", scanned.sources))
        self.unchanged(corpus.title, scanned.fingerprint, reasons)
        return corpus, scanned

    def sources_of(self, scanned: Scan) -> dict[str, Any]:
        """Return what a run saves of the files: what made them, their hashes, and one over all."""
        origin = {"origin": self.origin()} if self.origin() else {}
        return {**origin, "sources": scanned.sources, "fingerprint": scanned.fingerprint}
