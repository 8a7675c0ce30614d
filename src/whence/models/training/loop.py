"""The training loop: epochs of batches, validation, checkpoints, and going on where it stopped.

The order of batches, the negatives and dropout of an epoch follow from (seed, epoch) alone. So
training that was broken off goes on from the last whole epoch, or from the last batch of which the
state was kept, bit for bit as if it never stopped.

They are those of the whole data, too, where examples are left out (``fit(without=...)``) or rows
were taken away (`Interactions.keep_rows`): all examples are put in order and cut into batches, and
then what is gone is dropped from its batch. The sum of a batch's losses is divided by the number
of terms that the batch has in the whole data, and a batch of which nothing is left is a step with
a gradient of zero. So two runs differ by what the examples that are gone contribute, by nothing
else.
"""

from __future__ import annotations

import copy
import hashlib
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from whence.engines import claimed, kept_memory
from whence.errors import FileFormatError, OutputExistsError, ParameterError, TrainingError
from whence.models.training.averaging import Average
from whence.models.training.checkpoints import (
    BEST,
    LAST,
    WITHIN,
    Checkpoint,
    check_states,
    checkpoint_name,
    copied,
)
from whence.models.training.logs import Log
from whence.models.training.order import Batches, cuda_devices, stream_seed, without_tf32
from whence.models.training.settings import Clock, TrainingSettings

if TYPE_CHECKING:
    from whence.evaluation.queries import Queries
    from whence.models.training.differentiable import DifferentiableRecommender

_LOWER_IS_BETTER = ("rmse", "mae", "loss")
_NOTHING: dict[str, Any] = {"batch": 0, "loss": 0.0, "terms": 0, "seconds": 0.0}
"""Of an epoch that begins."""


class Training:
    """Training of one model; `run` leaves the best (or last) parameters in its module.

    Parameters
    ----------
    model : DifferentiableRecommender
        With `module_` and `examples_`.
    settings : TrainingSettings
    validation : Queries, Interactions or None
        What the metric is evaluated on.
    """

    def __init__(
        self, model: DifferentiableRecommender, settings: TrainingSettings, validation: Any = None
    ) -> None:
        self.model = model
        self.settings = settings
        self.validation: Queries | Any = validation
        self.optimizer, self.scheduler = model._optimizer()
        self._batches = Batches(model, settings.numbers(len(model.examples_)))
        self.epoch = self.step = 0
        self._rate = model.learning_rate
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {}
        self._best_module: dict[str, torch.Tensor] | None = None
        self.kept: list[Checkpoint] = []
        self._good = copied(model.module_.state_dict())
        per_epoch = math.ceil(len(self._batches.order.number) / model.batch_size)
        averaging = model.averaging
        self._average = Average(model.module_, averaging, per_epoch) if averaging else None
        self._current: dict[str, torch.Tensor] = {}
        self._clock = Clock.of(settings)
        self._begun: dict[str, Any] = {}

    def run(self) -> None:
        """Train until the last epoch, or until patience is over."""
        folder = self.settings.folder
        with nullcontext() if folder is None else claimed(folder):
            self._open_folder()
            self._train()

    def _train(self) -> None:
        epochs = self.model.epochs
        threads = torch_threads(self.model.torch_threads)
        with threads, kept_memory(), Log(self.settings, type(self.model).__name__, epochs) as log:
            log.resume(self.history)
            while self.epoch < epochs and not self._has_converged():
                entry = self._epoch(log)
                with self._averaged():
                    self._validate(entry)
                    self.history.append(entry)
                    self._keep(last=self.epoch == epochs or self._has_converged())
                log.epoch(entry)
        self.model.module_.load_state_dict(self._good)
        if self._best_module is not None:
            self.model.module_.load_state_dict(self._best_module)
        self.model.module_.zero_grad(set_to_none=True)
        self.model.module_.eval()

    def _epoch(self, log: Log) -> dict[str, Any]:
        """One pass over all examples; the record of it."""
        model, module = self.model, self.model.module_
        begun, self._begun = self._begun or _NOTHING, {}
        started, total, terms = time.perf_counter(), begun["loss"], begun["terms"]
        order = self._batches.order.of_epoch(model.seed if model.shuffled else None, self.epoch)
        starts = range(0, len(order), model.batch_size)
        parameters = list(module.parameters())
        self._rate = float(self.optimizer.param_groups[0]["lr"])
        module.train()
        fork = torch.random.fork_rng(devices=cuda_devices(model.device))
        with fork, without_tf32(model.device):
            for number, start in enumerate(starts[begun["batch"] :], begun["batch"] + 1):
                # Dropout, too, must follow from (seed, epoch), and from no batch before.
                torch.manual_seed(stream_seed(model.seed, self.epoch, number))
                keys = order[start : start + model.batch_size]
                with model._casting():
                    batch = self._batches.losses(keys, self.epoch, model._training_loss)
                loss = batch.losses.sum() / batch.divisor
                value = float(loss.detach())
                if not math.isfinite(value):
                    self._give_up(value, number, len(starts))
                for parameter in parameters:
                    parameter.grad = None
                loss.backward()  # type: ignore[no-untyped-call]
                if model.gradient_clip is not None:
                    torch.nn.utils.clip_grad_norm_(module.parameters(), model.gradient_clip)
                self.optimizer.step()
                total += value * batch.divisor
                terms += batch.n_terms
                log.batch(number, len(starts))
                self.step += 1
                if self._average is not None:
                    self._average.add(self.step)
                if number < len(starts) and self._clock.strikes():
                    seconds = begun["seconds"] + time.perf_counter() - started
                    self._keep_within(number, total, terms, seconds)
        self.scheduler.step()
        self.epoch += 1
        self._check_parameters()
        return {
            "epoch": self.epoch,
            "step": self.step,
            "loss": total / terms,
            "learning_rate": self._rate,
            "seconds": begun["seconds"] + time.perf_counter() - started,
        }

    @contextmanager
    def _averaged(self) -> Iterator[None]:
        """With the mean of the parameters in the module, where they are averaged."""
        if self._average is None:
            yield
            return
        with self._average.in_module() as self._current:
            yield

    def _validate(self, entry: dict[str, Any]) -> None:
        wanted = self.settings.metric
        if self.validation is None or self.epoch % self.settings.eval_every:
            return
        from whence.evaluation import evaluate

        started = time.perf_counter()
        result = evaluate(self.model, self.validation, wanted, threads=self.settings.run.threads)
        scores = result.scores
        name = next(iter(scores))
        entry["metrics"] = scores
        entry["evaluation_seconds"] = time.perf_counter() - started
        sign = -1.0 if name.split("@")[0] in _LOWER_IS_BETTER else 1.0
        if not self.best or sign * scores[name] > sign * self.best["value"]:
            self.best = {"epoch": self.epoch, "metric": name, "value": scores[name]}
            self._best_module = copied(self.model.module_.state_dict())
            if self.settings.folder is not None:
                replace(self._checkpoint(), optimizer={}, scheduler={}, current={}).save(
                    self._path(BEST)
                )

    def _has_converged(self) -> bool:
        patience = self.settings.patience
        if patience is None or not self.best:
            return False
        since = [e for e in self.history if "metrics" in e and e["epoch"] > self.best["epoch"]]
        return len(since) >= patience

    def _keep(self, last: bool) -> None:
        self._good = copied(self.model.module_.state_dict())
        if self.settings.keeps(self.epoch, last):
            # The optimiser goes on changing its tensors, which a checkpoint in memory must not.
            kept = copy.deepcopy(self._checkpoint())
            self.kept.append(kept)
            if self.settings.folder is not None:
                kept.save(self._path(checkpoint_name(self.epoch)))
        if self.settings.folder is not None:
            self._checkpoint().save(self._path(LAST))
            self._path(WITHIN).unlink(missing_ok=True)
            self._clock.begin()

    def _keep_within(self, number: int, loss: float, terms: int, seconds: float) -> None:
        """Write the state after some batches of an epoch."""
        begun = {"batch": number, "loss": loss, "terms": terms, "seconds": seconds}
        with self._averaged():
            replace(self._checkpoint(), begun=begun).save(self._path(WITHIN))
        self._clock.begin()

    def _checkpoint(self) -> Checkpoint:
        model = self.model
        return Checkpoint(
            model=type(model).__name__,
            params=model._recorded_params(),
            epoch=self.epoch,
            step=self.step,
            learning_rate=self._rate,
            module=copied(model.module_.state_dict()),
            seed=model.seed,
            fingerprint=self._fingerprint(),
            history=list(self.history),
            best=dict(self.best),
            optimizer=self.optimizer.state_dict(),
            scheduler=self.scheduler.state_dict(),
            current=self._current,
        )

    def _fingerprint(self) -> str:
        """Of the training data, and of the examples left out."""
        data, without = self.model.train_.fingerprint, self.settings.without
        if not len(without):
            return data
        return f"{data}-{hashlib.sha256(np.sort(without).tobytes()).hexdigest()[:8]}"

    def _path(self, name: str) -> Path:
        assert self.settings.folder is not None
        return self.settings.folder / "checkpoints" / name

    def _open_folder(self) -> None:
        """Take up the last checkpoint, or make sure that none is overwritten."""
        if self.settings.folder is None:
            return
        last, within = self._path(LAST), self._path(WITHIN)
        if not self.settings.run.resume:
            if last.exists() or within.exists():
                raise OutputExistsError(
                    f"{last.parent} has checkpoints of an earlier run; go on from them with "
                    "resume=True, or choose another folder."
                )
            return
        whole = Checkpoint.load(last) if last.exists() else None
        begun = Checkpoint.load(within) if within.exists() else None
        # One that is older was to be removed when the epoch was whole.
        if begun is not None and (whole is None or begun.step > whole.step):
            self._take_up(begun, within)
            self._begun = begun.begun
        elif whole is not None:
            self._take_up(whole, last)
        if whole is not None:
            self._good = whole.module

    def _take_up(self, last: Checkpoint, path: Path) -> None:
        model = self.model
        free = {"epochs": None, "device": None}
        ours = {**model._recorded_params(), **free}
        theirs = {**model.parameter_defaults(), **last.params, **free}
        changed = [name for name, value in ours.items() if not _is_same(theirs.get(name), value)]
        if last.model != type(model).__name__ or changed:
            raise ParameterError(
                f"The checkpoint is of {last.model} with another "
                f"{' and '.join(changed) or 'model'}; resume with the same parameters, or choose "
                "another folder."
            )
        if last.fingerprint != self._fingerprint():
            raise FileFormatError(
                "The checkpoint was made from other training data or examples (its fingerprint "
                "differs); resume with the same data, or choose another folder."
            )
        try:
            check_states(self.optimizer, self.scheduler, last)
            if self._average is None:
                model.module_.load_state_dict(last.module)
            else:
                self._average.load(last.module, last.current)
            self.optimizer.load_state_dict(last.optimizer)
            self.scheduler.load_state_dict(last.scheduler)
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            why = " ".join(str(error).split())
            raise FileFormatError(
                f"{path} is damaged ({why}); train anew in another folder."
            ) from error
        self.epoch, self.step = last.epoch, last.step
        self.history, self.best = list(last.history), dict(last.best)
        if self.best:
            self._best_module = Checkpoint.load(self._path(BEST)).module
        for path in sorted(self._path(LAST).parent.glob("epoch-*.pt")):
            kept = Checkpoint.load(path)
            if kept.epoch <= self.epoch:
                self.kept.append(kept)

    def _check_parameters(self) -> None:
        if not all(bool(p.isfinite().all()) for p in self.model.module_.parameters()):
            self._give_up(math.nan, 0, 0)

    def _give_up(self, value: float, number: int, of: int) -> None:
        """Raise, with the parameters of the last good epoch in the module."""
        self.model.module_.load_state_dict(self._good)
        self.model.module_.eval()
        whole = self.epoch if number else self.epoch - 1
        where = f"batch {number} of {of} of epoch {whole + 1}" if number else f"epoch {whole + 1}"
        kept = f"those of epoch {whole} are kept" if whole else "the initial ones are kept"
        rate = self.optimizer.param_groups[0]["lr"]
        raise TrainingError(
            f"Training diverged: the loss or a parameter is {value:g} in {where}; the parameters "
            f"after it are lost, {kept}. Lower the learning rate (now {rate:g}) or set "
            "gradient_clip."
        )


def _is_same(one: Any, other: Any) -> bool:
    """Whether two parameters are equal; an array, as a damaged file may hold, is none."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        one, other = list(one), list(other)  # a configuration has lists
    try:
        return bool(one == other)
    except (RuntimeError, ValueError):
        return False


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Run torch with this many threads, and as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
