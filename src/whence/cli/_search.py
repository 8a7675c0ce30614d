"""The search behind ``whence tune``: Optuna chooses, Whence trains and evaluates."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from whence.cli._output import SUMMARY, Results, write_json, write_sections
from whence.cli._runs import described_run, resolved
from whence.cli._terminal import counted, working
from whence.errors import ConfigError, TrainingError, UnsupportedError, WhenceError

if TYPE_CHECKING:
    from whence.config import Config, Parts

STUDY, TRIALS, BEST = "study.db", "trials.csv", "best.yaml"
_LOWER_IS_BETTER = ("rmse", "mae")
_NAME = "whence"


class Search:
    """Trials of settings of one model on one set of data.

    Trial n draws from a random stream of (seed, n), so that a search that was broken off goes on
    as if it had not been.

    Parameters
    ----------
    config : Config
        With something in ``tune.space``.
    parts : Parts
        With validation data.
    folder : Path
    threads : int, optional
    """

    def __init__(
        self, config: Config, parts: Parts, folder: Path, threads: int | None = None
    ) -> None:
        from whence.evaluation._names import canonical_name

        self.config, self.parts, self.folder, self.threads = config, parts, folder, threads
        wanted = config.tune.metric or config.training.metric or config.evaluation.metrics[0]
        self.metric = canonical_name(wanted)
        lower = self.metric.split("@")[0] in _LOWER_IS_BETTER
        self.direction = config.tune.direction or ("minimize" if lower else "maximize")
        self._optuna = optuna()
        self._study: Any = None

    def run(self, *, resume: bool) -> None:
        """Run trials until there are as many as the configuration says.

        Raises
        ------
        OutputExistsError
            If the folder is there and this is not to go on with it.
        ConfigError
            If the search in the folder is another one.
        """
        model = self.config.build_model()
        question = described_run(
            "tune", self.config, model, self.parts,
            search={"metric": self.metric, "space": self.config.tune.space},
        )  # fmt: skip
        sections = resolved(self.config, model, self.parts)
        sections["tune"] = self.config.tune.model_dump(mode="json", exclude_none=True)
        results = Results(
            self.folder, question, overwrite=self.config.output.overwrite, resume=resume,
            config=sections, begun=self._begun,
            again=f"whence tune {self.folder} --resume",
        )  # fmt: skip
        with results.open():
            self._open()
            wanted = self.config.tune.trials
            with working("Trials") as run:
                while (done := len(self.finished())) < wanted:
                    run.progress(done, wanted, self._told())  # type: ignore[operator]
                    self._trial(done)
                    self._write()
            self._write()
            numbers = [number for number, _ in self.numbered()]
            about = {"metric": self.metric, "direction": self.direction, "trials": len(numbers)}
            write_json({**about, "best": numbers[0]}, self.folder / SUMMARY)

    def finished(self) -> list[Any]:
        """Trials that ran to an end: complete, given up, or failed with an error that is kept."""
        if self._study is None:
            return []
        return [
            trial
            for trial in self._study.get_trials(deepcopy=False)
            if trial.state.name in ("COMPLETE", "PRUNED") or "error" in trial.user_attrs
        ]

    def numbered(self) -> list[tuple[int, Any]]:
        """Finished trials with their numbers, the best first; pruned and failed ones follow.

        Trials that were broken off have no number.
        """
        order = {"COMPLETE": 0, "PRUNED": 1}
        sign = -1.0 if self.direction == "maximize" else 1.0
        return sorted(
            enumerate(self.finished()),
            key=lambda one: (
                order.get(one[1].state.name, 2),
                0.0 if one[1].value is None else sign * one[1].value,
                one[0],
            ),
        )

    def _told(self) -> str:
        best = next((trial.value for _, trial in self.numbered()), None)
        return "" if best is None else f"best {self.metric} {best:.4f}"

    def _begun(self, folder: Path) -> str:
        return counted(len(self.finished()), "trial") if self.finished() else ""

    def _open(self) -> None:
        """Open the study; trials that a crash left unfinished count as broken off."""
        storage = self._optuna.storages.RDBStorage(f"sqlite:///{(self.folder / STUDY).resolve()}")
        self._study = self._optuna.create_study(
            study_name=_NAME,
            storage=storage,
            direction=self.direction,
            load_if_exists=True,
            pruner=self._pruner(),
        )
        failed = self._optuna.trial.TrialState.FAIL
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state.name == "RUNNING":
                self._study.tell(trial.number, state=failed)

    def _pruner(self) -> Any:
        if not self.config.tune.prune:
            return self._optuna.pruners.NopPruner()
        return self._optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1)

    def _sampler(self, number: int) -> Any:
        seed = _stream(self.config.tune.seed, number)
        if self.config.tune.sampler == "random":
            return self._optuna.samplers.RandomSampler(seed=seed)
        return self._optuna.samplers.TPESampler(seed=seed)

    def _trial(self, number: int) -> None:
        states = self._optuna.trial.TrialState
        self._study.sampler = self._sampler(number)
        trial = self._study.ask()
        try:
            value = self._value(trial)
        except self._optuna.TrialPruned:
            self._study.tell(trial, state=states.PRUNED)
        except (TrainingError, WhenceError) as error:
            # One setting that does not work, such as a learning rate that diverges, is a result;
            # that nothing works is an error.
            if not isinstance(error, TrainingError) and number == 0:
                self._study.tell(trial, state=states.FAIL)
                raise
            trial.set_user_attr("error", str(error))
            self._study.tell(trial, state=states.FAIL)
        except BaseException:
            self._study.tell(trial, state=states.FAIL)
            raise
        else:
            self._study.tell(trial, value)

    def _value(self, trial: Any) -> float:
        """Train with the settings of a trial and evaluate on the validation data."""
        from whence.cli._fitting import evaluate_all, fit

        settings = {
            key: _suggested(trial, key, values) for key, values in self.config.tune.space.items()
        }
        config = with_settings(self.config, {**settings, "training.metric": self.metric})
        validation = self.parts.validation
        assert validation is not None

        def watch(record: Mapping[str, Any]) -> None:
            value = record.get("metrics", {}).get(self.metric)
            if value is not None:
                trial.report(value, record["epoch"])
                if trial.should_prune():
                    raise self._optuna.TrialPruned

        quiet = config.training.model_copy(update={"progress": False, "checkpoints": None})
        config = config.model_copy(update={"training": quiet})
        model = fit(config, self.parts, threads=self.threads, callbacks=(watch,))
        results = evaluate_all(
            model, {"validation": validation}, config, self.parts, metrics=[self.metric],
            threads=self.threads,
        )  # fmt: skip
        best = getattr(model, "best_", {})
        if best:
            trial.set_user_attr("epoch", best["epoch"])
        return float(results["validation"].scores[self.metric])

    def _write(self) -> None:
        """Write the table of trials, and the best settings as a whole configuration."""
        import polars as pl

        from whence.data.files import atomic_path

        rows = [
            {
                "trial": number,
                "state": trial.state.name.lower(),
                self.metric: trial.value,
                **{name: _cell(trial.params.get(name)) for name in self.config.tune.space},
                "epoch": trial.user_attrs.get("epoch"),
                "seconds": None if trial.duration is None else trial.duration.total_seconds(),
                "error": trial.user_attrs.get("error"),
            }
            for number, trial in enumerate(self.finished())
        ]
        with atomic_path(self.folder / TRIALS, overwrite=True) as path:
            pl.DataFrame(rows, infer_schema_length=None).write_csv(path)
        complete = [trial for _, trial in self.numbered() if trial.state.name == "COMPLETE"]
        if complete:
            settings = {name: _plain(value) for name, value in complete[0].params.items()}
            best = with_settings(self.config, {**settings, "training.metric": self.metric})
            write_sections(resolved(best, best.build_model(), self.parts), self.folder / BEST)


def optuna() -> ModuleType:
    """Return Optuna, told to be quiet.

    Raises
    ------
    UnsupportedError
        If it is not installed.
    """
    try:
        import optuna as found
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            "whence tune needs Optuna, which is not installed; pip install 'whence[tune]'."
        ) from error
    found.logging.set_verbosity(found.logging.ERROR)
    module: ModuleType = found
    return module


def with_settings(config: Config, settings: dict[str, Any]) -> Config:
    """Return a configuration with other values for some keys, checked as those of a file are."""
    from whence.config import Config as Checked
    from whence.config.loading import checked_config

    sections = config.model_dump(exclude_unset=True)
    for key, value in settings.items():
        section, _, name = key.partition(".")
        sections[section] = {**sections.get(section, {}), name: value}
    found: Checked = checked_config(sections, "tune.space")
    return found


def check_space(config: Config) -> None:
    """Refuse a search without a space, or with values that its keys cannot have.

    Raises
    ------
    ConfigError
        In that case.
    """
    space = config.tune.space
    if not space:
        raise ConfigError(
            "There is nothing to tune; write a section tune with a space, such as tune: {space: "
            "{training.learning_rate: {low: 1e-4, high: 1e-2, log: true}}}."
        )
    model = config.build_model()
    known = {*model.params, *inspect.signature(model.fit).parameters}
    for key, values in space.items():
        section, _, name = key.partition(".")
        if section == "training" and name not in known:
            raise ConfigError(
                f"tune.space has {key!r}, which has no use for {config.model.class_name}; leave "
                "it out."
            )
        tried = [values["low"], values["high"]] if isinstance(values, dict) else values
        for value in tried:
            with_settings(config, {key: value})


def _suggested(trial: Any, key: str, values: Any) -> Any:
    """Value of a key in a trial."""
    if not isinstance(values, dict):
        # Optuna keeps plain values only; lists, such as sizes of layers, go through as text.
        plain = [value if _is_plain(value) else json.dumps(value) for value in values]
        return _plain(trial.suggest_categorical(key, plain))
    low, high, step = values["low"], values["high"], values.get("step")
    log = bool(values.get("log", False))
    if all(isinstance(value, int) for value in (low, high, step or 1)):
        return trial.suggest_int(key, low, high, step=step or 1, log=log)
    return trial.suggest_float(key, low, high, step=step, log=log)


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))


def _plain(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in "[{":
        return json.loads(value)
    return value


def _cell(value: Any) -> Any:
    return value if _is_plain(value) else json.dumps(value)


def _stream(seed: int, number: int) -> int:
    """Seed of the choice in a trial."""
    import numpy as np

    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
