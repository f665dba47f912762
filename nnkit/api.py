"""nnkit from Python: compose a config, train it, resume it, load a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from nnkit import config as configs
from nnkit.config import Composition
from nnkit.config.overrides import quote
from nnkit.errors import ConfigError, Problem
from nnkit.runs.run import Run, find_run

if TYPE_CHECKING:
    from nnkit.analysis.inspection.parts import Inspection
    from nnkit.data.base import DataModule
    from nnkit.decoding.beam import Beam
    from nnkit.decoding.sampling import Sampling
    from nnkit.inference.answering import Reply
    from nnkit.inference.filling import Filled
    from nnkit.inference.prediction import Unreadable
    from nnkit.network import Network
    from nnkit.runs.fit import Result
    from nnkit.tasks.base import Task
    from nnkit.tasks.predictions import Prediction


# Data that are arrays of any shape rather than tables.
_OF_ARRAYS = ("arrays", "dataset")


def compose(overrides: Sequence[str] = (), config_dir: str | Path | None = None) -> Composition:
    """Compose the config of one run, as the command line does.

    Args:
        overrides: The words after ``nnkit train``, such as ``"model=mlp"`` and ``"optimizer.lr=1e-3"``.
        config_dir: A directory with more option files.

    Raises:
        ConfigError: With every mistake in the words.
    """
    return configs.compose(overrides, config_dir)


def train(what: Sequence[str] | Composition = (), show: bool = False, *, data: Any = None) -> Result:
    """Train in a new run directory, then test the best checkpoint.

    The global random generators are seeded, and the number of threads and the precision of matrix products
    are set, for the whole process.

    Args:
        what: The words after ``nnkit train``, or what `compose` returned, which is left as it is.
        show: Whether to print the table of results.
        data: A pandas or polars data frame, an Arrow table, or a dict of NumPy arrays instead of the file of
            ``data.path``; as ``data=table`` unless the words choose other data. It is kept in the cache, under a name
            that follows from its contents.

    Returns:
        The run, its metrics such as "test/accuracy", the seconds, and the trained task.

    Raises:
        ConfigError: If the config is wrong, with every mistake; nothing is written then.
        NnkitError: For what else can be mended, such as data that cannot be had or a loss that diverges.
    """
    from nnkit.analysis.report.ending import Reporting
    from nnkit.distributed.group import together
    from nnkit.runs.following import launched
    from nnkit.runs.training import train as train_composition

    # Before anything else: the sooner processes have met, the sooner one hears of the end of another.
    if (found := launched()) is not None and not found.leads:
        return train_composition(None, show=show)
    composed: Composition | None
    problems: list[Problem] = []
    with together(found):
        if isinstance(what, Composition):
            composed = replace(what, config=configs.copy(what.config))
            if data is not None:
                configs.set_values(composed.config.data, path=str(_kept(data, composed.choices.get("data"))))
        else:
            composed, problems = configs.examine(what if data is None else _with_data(what, data))
    reporting = Reporting()
    result = train_composition(composed, problems, show=show, extra=[reporting])
    reporting.write(result, show)
    return result


def _with_data(words: Sequence[str], data: Any) -> list[str]:
    """Return words that name the file that data are kept in."""
    given = next((word for word in words if word.startswith(("data.path=", "data.train_path="))), None)
    if given is not None:
        raise ConfigError(
            [Problem("data.path", f"the data were given, and {given} names others", "leave it out")]
        )
    chosen = next((word.partition("=")[2] for word in words if word.startswith("data=")), None)
    known = chosen or any(word.startswith("experiment=") for word in words)
    return [*([] if known else ["data=table"]), *words, f"data.path={quote(str(_kept(data, chosen)))}"]


def _kept(data: Any, choice: Any, folder: Path | None = None) -> Path:
    from nnkit.data.objects.frames import keep

    return keep(data, as_arrays=choice in _OF_ARRAYS, folder=folder)


def resume(
    run: str | Path | Run,
    changes: Sequence[str] = (),
    allow: Sequence[str] = (),
    output_dir: str | Path = "outputs",
    show: bool = False,
    *,
    data: Any = None,
) -> Result:
    """Continue a run in its own directory from its newest valid checkpoint, exactly.

    Args:
        run: Run directory, the beginning of its name, "last", or a `Run`.
        changes: Values to change, such as ``"trainer.max_epochs=20"``; what changes the arithmetic is refused.
        allow: Keys among them that may change the arithmetic all the same.
        output_dir: Where runs are looked for by name.
        show: Whether to print progress and the table of results.
        data: The data that `train` was given, needed where the cache does not have them any more. Other data are
            refused.

    Raises:
        ConfigError: If a change is refused, with every reason; nothing is written then.
        UserError: If there is no such run, it is finished, or another process trains it.
        EnvironmentFault: If it has checkpoints and none is valid.
    """
    from nnkit.analysis.report.ending import Reporting
    from nnkit.runs.resuming import resume as resume_run

    found = run if isinstance(run, Run) else find_run(str(run), Path(output_dir))
    if data is not None:
        changes = [*changes, f"data.path={quote(str(_kept(data, found.choices().get('data'))))}"]
    spec = str(found.path)
    reporting = Reporting()
    result = resume_run(spec, str(output_dir), changes, allow, show, extra=[reporting])
    reporting.write(result, show)
    return result


@dataclass(frozen=True)
class Loaded:
    """A run, its best weights loaded.

    Attributes:
        run: Its directory.
        network: The network, in evaluation mode; it maps normalised inputs to what the head puts out.
        task: The task around it; it maps inputs to class scores or to values in the user's units.
        data: The data module with what it learnt in training; ``data.read(items)`` yields inputs.
        metrics: What the run ended with, such as "test/accuracy"; empty if it has not ended.
    """

    run: Run
    network: Network = field(repr=False)
    task: Task = field(repr=False)
    data: DataModule = field(repr=False)
    metrics: dict[str, float]

    def predict(self, items: Any, top_k: int = 3) -> list[Prediction | Unreadable]:
        """Predict items as ``nnkit predict`` does.

        Args:
            items: Paths of pictures, folders or tables, or texts, in a list; or a data frame or a dict of arrays, as
                `train` takes.
            top_k: Classes to rank, at most.

        Returns:
            For each item a `Ranking` (``label``, ``probability``, ``top``), a `Labelled` (``labels``, ``top``) where
            an item has any number of labels, an `Estimate` (``values``) for regression and language models, a
            `Written` (``text``) where one text is written from another, or an `Unreadable` (``reason``).

        Raises:
            ValueError: If top_k is below 1.
        """
        from nnkit.inference.prediction import predict

        if top_k < 1:
            raise ValueError(f"top_k must be at least 1, not {top_k}")
        if isinstance(items, Sequence):
            return list(predict(self.task, self.data, [str(item) for item in items], top_k))
        with self._as_file(items) as path:
            found = list(predict(self.task, self.data, [path], top_k))
        # The rows by number: the file is gone.
        return [replace(one, item=f"data:{one.item.rpartition(':')[2]}") for one in found]

    def inspect(
        self,
        items: Any = (),
        *,
        gradients: bool = False,
        units: Sequence[str] = (),
        other: Loaded | None = None,
        vectors: bool = False,
    ) -> Inspection:
        """See what the network does with inputs, as ``nnkit inspect`` shows it.

        Args:
            items: As for `predict`, or one path or text; the first four are seen. Empty: the first validation sample.
            gradients: Whether the gradients of the loss of a validation batch are wanted as well.
            units: Units to find the validation samples of that make them fire most and least, such as ``"C3:5"``.
            other: A second run that is to see the same inputs.
            vectors: Whether the vectors of tokens and of validation samples are wanted.

        Returns:
            ``arrays`` by name, each with its ``values``, ``axes``, ``labels`` and ``shape``; ``figures`` of matplotlib
            by name; ``tables``; ``outcomes``, the scores and probabilities of each input; and ``points``, the vectors.

        Raises:
            UserError: If an input cannot be read, or a unit does not exist.
        """
        from nnkit.analysis.inspection.gather import inspect
        from nnkit.analysis.inspection.opening import inspected

        runs = [None if one is None else inspected(one.run, one.task, one.data) for one in (self, other)]
        assert runs[0] is not None
        asked: Any = {"gradients": gradients, "units": units, "other": runs[1], "vectors": vectors}
        if isinstance(items, str | Path):
            items = [items]
        if isinstance(items, Sequence):
            return inspect(runs[0], [str(item) for item in items], **asked)
        with self._as_file(items) as path:
            return inspect(runs[0], [path], **asked)

    @contextmanager
    def _as_file(self, items: Any) -> Iterator[str]:
        """Yield the path of a file that holds a data frame or arrays while the block runs."""
        with TemporaryDirectory() as folder:
            yield str(_kept(items, self.run.choices().get("data"), Path(folder)))

    def generate(
        self,
        prompt: str = "",
        *,
        length: int = 500,
        sampling: Sampling | None = None,
        seed: int = 0,
        num_samples: int = 1,
        stop: Sequence[str] = (),
    ) -> list[str]:
        """Let a language model write on, as ``nnkit generate`` does.

        Args:
            prompt: What the text begins with; empty: a line break.
            length: Tokens to write.
            sampling: How they are drawn; None: ``nnkit.decoding.sampling.Sampling(temperature=0.8)``.
            seed: Another seed, another text.
            num_samples: Texts to write.
            stop: A text ends before the first of these.

        Returns:
            What follows the prompt, `num_samples` times.

        Raises:
            UserError: If the run is no language model, or the prompt holds what its vocabulary lacks.
            ValueError: If a number is below 1.
        """
        from nnkit.decoding.sampling import Sampling
        from nnkit.inference.generation import continuations, encode_prompt, language_model, whole

        network, tokenizer = language_model(self.task, self.data, str(self.run.path))
        pieces = continuations(
            network,
            tokenizer,
            encode_prompt(tokenizer, prompt),
            length=length,
            sampling=sampling or Sampling(temperature=0.8),
            seeds=(seed,),
            num_samples=num_samples,
            stop=stop,
        )
        return whole(pieces, num_samples)

    def answers(self, text: str, beam: Beam | None = None) -> list[Reply]:
        """Write from one text others, as ``nnkit generate`` does.

        Args:
            text: What is read.
            beam: How answers are searched for; None: as the run was tested.

        Returns:
            As many as the beam is wide, or as there are, each with ``text`` and ``score``, the best first.

        Raises:
            UserError: If the run writes no text from another, or there is nothing to read.
        """
        from nnkit.inference.answering import replies

        return replies(self.task, self.data, text, run=str(self.run.path), beam=beam)

    def fill(self, text: str, following: str | None = None, top_k: int = 5) -> Filled:
        """Find what [MASK] stands for in a text, as ``nnkit generate`` does.

        Args:
            text: What is read; each [MASK] is a masked token.
            following: A text that may follow it; None: no probability of it is returned.
            top_k: Tokens to rank, at most.

        Returns:
            The text with the most probable tokens in place (``text``), what else may stand there (``candidates``), and
            the probability that the other text follows (``follows``).

        Raises:
            UserError: If the run was not trained to find masked tokens, or nothing is masked and nothing may follow.
            ValueError: If top_k is below 1.
        """
        from nnkit.inference.filling import fill

        if top_k < 1:
            raise ValueError(f"top_k must be at least 1, not {top_k}")
        return fill(self.task, self.data, text, following, top_k=top_k, run=str(self.run.path))


def load(run: str | Path | Run, output_dir: str | Path = "outputs") -> Loaded:
    """Rebuild the best checkpoint of a run from its directory alone.

    Sets the number of threads and the precision of matrix products the run was trained with.

    Args:
        run: Run directory, the beginning of its name, "last", or ``train(...).run``.
        output_dir: Where runs are looked for by name.

    Raises:
        UserError: If there is no such run, or it has no checkpoint.
        EnvironmentFault: If its checkpoints are damaged.
    """
    from nnkit.runs.reopen import open_run

    found = run if isinstance(run, Run) else find_run(str(run), Path(output_dir))
    session = open_run(found).session
    metrics: dict[str, Any] = found.record().get("metrics") or {}
    return Loaded(found, session.task.network, session.task, session.data, metrics)
