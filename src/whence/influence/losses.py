"""Values by the loss of the training examples themselves: what a model finds hard to explain.

Neither gradients nor validation data are looked at. The lowest values are the most suspicious, as
with every other method.
"""

from __future__ import annotations

import copy
import time
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch

from whence.attribution import Attribution, Attributor, describe_run
from whence.data import Interactions
from whence.data._shuffling import shuffled
from whence.engines import Run, settled
from whence.errors import DataError, NotFittedError, ParameterError, UnsupportedError
from whence.influence.checkpoints import check_model, check_trainable
from whence.influence.credit import credited
from whence.models.training import Examples, WindowExamples
from whence.models.training.loop import torch_threads
from whence.parameters import PositiveInt, Seed, Share

FloatArray = npt.NDArray[np.float64]
_BATCH = 512


class TrainingLoss(Attributor, name="loss", title="Training loss"):
    """Minus the mean loss of what the training data have of each source, under the fitted model.

    Parameters
    ----------
    by : {"example", "interaction", "session", "user", "item"}, optional
        Who is credited; the sessions or users by default. The mean is over loss terms (for models
        of sequences: over next items), so that long sources are not suspicious for their length.
        An interaction or item has the mean of the examples that it is a part of, by its share.

    Examples
    --------
    >>> import whence
    >>> data = whence.make_sessions(n_sessions=150, seed=1)
    >>> model = whence.LSTMRec(embedding_dim=8, hidden_dim=8, epochs=2).fit(data.train)
    >>> values = TrainingLoss().attribute(model)
    >>> len(values) == data.train.n_sources and bool(values.scores.max() < 0)
    True
    """

    by: Literal["example", "interaction", "session", "user", "item"] | None = None

    def check_model(self, model: Any) -> None:
        """Refuse a model that is not trained by gradients; see `Attributor.check_model`."""
        check_trainable(model)

    def attribute(self, model: Any, data: Any = None, *, run: Run | None = None) -> Attribution:
        """Value the training data of a model.

        Parameters
        ----------
        model : fitted differentiable model
        data : optional
            Not looked at; accepted so that the method can stand wherever another does.
        run : Run, optional
            How the work is done; its seed in place of that of the method.

        Raises
        ------
        NotFittedError, UnsupportedError
            If the model has not learned, or not by gradients.
        DataError
            If nothing would be left to learn from.
        """
        started = time.perf_counter()
        self._check_params()
        check_model(model)
        train = getattr(model, "train_", None)
        if not isinstance(train, Interactions):
            raise NotFittedError(
                f"{type(self).__name__} values interactions, but this {type(model).__name__} has "
                "learned from none; call model.fit(train) first."
            )
        run = settled(run, self)
        by = self.by or ("user" if train.by_user else "session")
        with torch_threads(1):
            sums = self._losses(model, train, run)
        examples = model.examples_
        terms = examples.n_terms(examples.keys).astype(np.float64)
        column, source, table = credited(train, examples, -sums, by)
        shares = credited(train, examples, terms, by)[2]["score"].to_numpy()
        means = table["score"].to_numpy() / np.maximum(shares, np.finfo(float).tiny)
        params = {name: value for name, value in self.params.items() if name != "by"}
        if "seed" in params:
            params["seed"] = run.seed
        metadata = describe_run(
            self.name,
            title=self.title,
            by=by,
            source=column,
            model=model,
            params=params,
            seed=params.get("seed"),
            train=train,
            validation=None,
            elapsed_seconds=time.perf_counter() - started,
            n_examples=len(examples),
        )
        table = table.with_columns(score=np.where(shares > 0, means, 0.0))
        return Attribution(table, source=source, metadata=metadata, backend=train.backend)

    def _losses(self, model: Any, train: Interactions, run: Run) -> FloatArray:
        """What each example counts, summed over its terms, float64 [n]; high is suspicious."""
        return example_losses(model, model.examples_)


class TrimmedLoss(TrainingLoss, name="trimmed-loss", title="Trimmed training loss"):
    """Minus the mean loss under a model that did not learn from the most suspicious sources.

    What is corrupted in the same way supports itself: a model that has learned from it finds it
    no surprise. The sources of the highest mean loss are left out, the model is fitted again on
    the others, and all are measured by its loss; again for as many rounds as wanted. Others keep
    their batches, negatives and start. This is iterative trimmed loss minimisation.

    Parameters
    ----------
    by
        As in `TrainingLoss`.
    trim : float
        Share of the sessions or users that are left out, whatever `by`: more than are thought to
        be corrupted.
    rounds : int
        Times that the model is fitted again.

    References
    ----------
    -  Shen and Sanghavi. Learning with bad training data via iterative trimmed loss minimization.
       ICML 2019.
    """

    trim: Share = 0.2
    rounds: PositiveInt = 1

    def _losses(self, model: Any, train: Interactions, run: Run) -> FloatArray:
        examples = model.examples_
        owner = examples.sources(np.arange(len(examples)))
        terms = np.bincount(owner, examples.n_terms(examples.keys), train.n_sources)
        n_left_out = int(self.trim * train.n_sources)
        losses = example_losses(model, examples)
        for _ in range(self.rounds):
            means = np.bincount(owner, losses, train.n_sources) / np.maximum(terms, 1)
            kept = np.ones(train.n_sources, dtype=np.bool_)
            kept[np.argsort(-means, kind="stable")[:n_left_out]] = False
            if not terms[kept].any():
                raise DataError(
                    f"Without {n_left_out:,} of {train.n_sources:,} sources nothing is left to "
                    "learn from; choose a smaller trim."
                )
            fitting = run.changed(folder=None, resume=False, seed=getattr(model, "seed", run.seed))
            again = copy.copy(model).fit(train.keep_sources(kept), run=fitting)
            losses = example_losses(again, examples)
        return losses


class InformationGain(TrainingLoss, name="information-gain", title="Information gain"):
    """How much the items before tell of the next one, beyond how popular it is.

    The mean over the next items of a source of log p(item | items before) - log p(item), in nats:
    their pointwise mutual information, with the share of all rows for p(item). Somebody whose
    items are drawn by popularity alone has about 0, whatever they are.

    Parameters
    ----------
    by
        As in `TrainingLoss`.
    """

    def _losses(self, model: Any, train: Interactions, run: Run) -> FloatArray:
        examples = model.examples_
        if getattr(model, "loss_", None) != "cross_entropy":
            raise UnsupportedError(
                f"The loss of this {type(model).__name__} is not the logarithm of a probability "
                "among all items; take a model of sequences with loss='cross_entropy', or "
                "TrainingLoss."
            )
        counts = np.bincount(train.item_codes, minlength=train.n_items)
        known = np.log(np.maximum(counts, 1) / train.n_rows)
        by_popularity = np.zeros(len(examples))
        for start in range(0, len(examples), _BATCH):
            numbers = np.arange(start, min(len(examples), start + _BATCH))
            target = examples.batch(numbers)["target"].numpy().reshape(len(numbers), -1)
            by_popularity[numbers] = np.where(target >= 0, known[target], 0.0).sum(axis=1)
        return example_losses(model, examples) + by_popularity


class OrderGain(TrainingLoss, name="order-gain", title="Gain by order"):
    """By how much the order of a source's rows helps the model to predict them.

    The mean loss of its items in random order, minus that in their own: how many nats the order
    tells of the next item beyond what the items before tell as a set. It does not depend on which
    items they are, because both losses are of the same: somebody of rare taste is not suspicious
    for that. Where the order means nothing, as in shuffled sessions, it is about 0.

    Parameters
    ----------
    by : {"session", "user"}, optional
        Who is credited, which must be whose order it is.
    draws : int
        Random orders that the first loss is the mean of.
    seed : int
        Of the random orders.
    """

    draws: PositiveInt = 5
    seed: Seed = 42

    def _check_params(self) -> None:
        super()._check_params()
        if self.by not in (None, "session", "user"):
            raise ParameterError(
                f"An order is that of a session or user, not of a single {self.by}; leave by out."
            )

    def _losses(self, model: Any, train: Interactions, run: Run) -> FloatArray:
        own = model.examples_
        if not isinstance(own, WindowExamples):
            raise UnsupportedError(
                f"{type(model).__name__} does not learn from the order of rows, so that it says "
                "nothing of a source's order; take TrainingLoss or TrimmedLoss, or a model of "
                "sequences."
            )
        generator = np.random.Generator(np.random.PCG64([run.seed or 0, 0x0D]))
        everybody = np.ones(train.n_sources, dtype=np.bool_)
        loss = np.zeros(len(own))
        for _ in range(self.draws):
            examples = model._examples(shuffled(train, everybody, generator))
            loss += example_losses(model, examples) / self.draws
        return example_losses(model, own) - loss


def example_losses(model: Any, examples: Examples) -> FloatArray:
    """Loss of each training example under a fitted model, summed over its terms, float64 [n]."""
    parts = []
    was_training = model.module_.training
    model.module_.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(examples), _BATCH):
                numbers = np.arange(start, min(len(examples), start + _BATCH))
                batch = model._to_device(examples.batch(numbers))
                parts.append(model.example_loss(batch).cpu().double().numpy())
    finally:
        model.module_.train(was_training)
    losses: FloatArray = np.concatenate(parts)
    return losses
