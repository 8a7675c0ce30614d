"""``whence demo``: the whole way on generated data with planted corruption."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from whence.cli import _options as options
from whence.cli._demo_files import LEGEND, METRIC, TOLERANCE, WHY, K, M, change
from whence.cli._terminal import counted, heading, number, say, table, working
from whence.parameters import PositiveInt

if TYPE_CHECKING:
    import polars as pl

    from whence.attribution import Attribution
    from whence.data import Interactions
    from whence.data.synthetic import Synthetic
    from whence.evaluation import Comparison

LONGEST = "longest first"


def demo(
    output: options.OutputFolder = Path("whence-demo"),
    seed: options.Seed = 42,
    threads: options.Threads = None,
    sessions: Annotated[PositiveInt, typer.Option(help="Number of training sessions.")] = 4000,
    quick: Annotated[bool, typer.Option("--quick", help="A fourth of the sessions.")] = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Find corrupted training data and remove it: on generated data, in under a minute.

    Sessions are generated, some of them corrupted; their values are computed; the corrupted ones
    are looked for among the lowest values; the lowest are removed; a held-out test set says
    whether that helped.
    """
    from whence.cli._demo_files import write
    from whence.cli._output import Results, check_free, marked
    from whence.errors import check_int

    check_free(output, overwrite=overwrite)
    check_int("--sessions", sessions, minimum=1600 if quick else 400)
    with Results(output, marked("demo", seed=seed), overwrite=overwrite).open():
        found = _run(sessions // 4 if quick else sessions, seed, threads)
        write(found, output)
    say()
    say(f"Everything is in {output}. Look at")
    say("  summary.md        what was done and found")
    say("  distribution.png  how the values are spread")
    say("  detection.png     how soon the corrupted sessions turn up")
    say("  removal.png       the metric as more and more sessions are removed")
    say(f"or at all of it in one page, to hand on: whence report {output}")
    if find_spec("jinja2") is None or find_spec("plotly") is None:
        say("  (after pip install 'whence[report]')")
    say("Then change something, or take your own data:")
    say(f"  whence value {output / 'config.yaml'} --method loo")
    fewer = output / "pruned.csv"
    say(f"  whence prune {output} {output / 'data' / 'train.csv'} -n 100 -o {fewer}")
    say("  whence value --data FILE --model itemknn   (FILE: rows of user or session, and item)")


@dataclass
class Found:
    """What the demonstration came to."""

    truth: Synthetic
    data: dict[str, Interactions]
    values: Attribution
    report: pl.DataFrame
    detection: pl.DataFrame
    removal: pl.DataFrame
    fraction: float
    gain: Comparison
    ideal: float


def _run(n_sessions: int, seed: int, threads: int | None) -> Found:
    from whence.data.splits import split_random
    from whence.data.synthetic import make_sessions
    from whence.models import VMISKNN

    say(LEGEND)
    say()
    heading("1. Data: generated sessions, 5% of the training sessions corrupted")
    truth = make_sessions(
        n_sessions, n_validation=3 * n_sessions // 4, n_test=n_sessions // 2, seed=seed
    )
    # How much to remove is chosen on other sessions than the values were computed on: on those
    # every removal looks better than it is.
    validation, choice = split_random(truth.validation, (2 / 3, 1 / 3), seed=seed)
    data = {"train": truth.train, "validation": validation, "choice": choice, "test": truth.test}
    say(f"train       {_counts(truth.train)}, {len(truth.corrupted)} sessions are corrupted")
    say(f"validation  {_counts(validation)}, to compute the values")
    say(f"choice      {_counts(choice)}, to choose how much to remove")
    say(f"test        {_counts(truth.test)}, to see whether it helped")
    model = VMISKNN(k=K, m=M).fit(truth.train)
    values = _value(model, validation, seed, threads)
    report, detection = _detect(model, values, truth, validation, seed, threads)
    removal, fraction, gain, ideal = _prune(model, values, truth, data, seed, threads)
    return Found(truth, data, values, report, detection, removal, fraction, gain, ideal)


def _value(model: Any, validation: Interactions, seed: int, threads: int | None) -> Attribution:
    from whence.valuation import Shapley

    heading("\n2. Values: what each training session is worth to the validation sessions")
    with working("Valuing", threads=threads) as run:
        values = Shapley(METRIC, tolerance=TOLERANCE, seed=seed).attribute(
            model, validation, run=run
        )
    if values.metadata["stopped"] == "interrupted":
        raise KeyboardInterrupt
    say(values.summary())
    return values


def _detect(
    model: Any,
    values: Attribution,
    truth: Synthetic,
    validation: Interactions,
    seed: int,
    threads: int | None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    from whence.curation import detection_curve, detection_report
    from whence.valuation import LeaveOneOut, LengthValue, RandomValue

    heading("\n3. Detection: are the corrupted sessions those of the lowest values?")
    with working("Leaving one out", threads=threads) as run:
        loo = LeaveOneOut(METRIC).attribute(model, validation, run=run)
    rankings = {
        "Shapley": values,
        "leave-one-out": loo,
        LONGEST: LengthValue().attribute(model, validation),
        "random": RandomValue(seed=seed).attribute(model, validation),
    }
    report = detection_report(rankings, truth.corrupted, highest_first=[LONGEST])
    say(f"Among the {len(truth.corrupted)} sessions that each ranking suspects most:")
    measures = ["precision", "recall", "auc", "average_precision"]
    rows = [
        [name, *(f"{value:.3f}" for value in row)]
        for name, *row in report.select("ranking", *measures).iter_rows()
    ]
    table(["ranking", "precision", "recall", "AUC", "average precision"], rows)
    return report, detection_curve(rankings, truth.corrupted, highest_first=[LONGEST])


def _prune(
    model: Any,
    values: Attribution,
    truth: Synthetic,
    data: dict[str, Interactions],
    seed: int,
    threads: int | None,
) -> tuple[pl.DataFrame, float, Comparison, float]:
    import polars as pl

    from whence.curation import best_fraction, prune, prune_curve
    from whence.evaluation import compare, evaluate, make_queries
    from whence.models import VMISKNN
    from whence.valuation import RandomValue

    heading("\n4. Pruning: remove the lowest values, as many as is best for the choice sessions")
    measured = {"choice": data["choice"], "test": data["test"]}
    with working("Pruning", threads=threads) as run:
        curve = prune_curve(model, values, measured, metric=METRIC, run=run)
    fraction = best_fraction(curve, "choice")
    at_random = prune_curve(
        model,
        RandomValue(seed=seed).attribute(model, data["validation"]),
        {"test": data["test"]},
        metric=METRIC,
        threads=threads,
    )
    removal = pl.concat(
        [
            curve.with_columns(ranking=pl.lit("Shapley, on ") + pl.col("data")),
            at_random.with_columns(ranking=pl.lit("random, on ") + pl.col("data")),
        ]
    )
    asked = make_queries(model, data["test"])
    pruned, cleaned = (
        prune(values, truth.train, fraction=fraction),
        truth.train.without(truth.corrupted),
    )
    before, after, ideal = (
        evaluate(VMISKNN(k=K, m=M).fit(train), asked, METRIC, threads=threads)
        for train in (truth.train, pruned, cleaned)
    )
    gain = compare(after, before, seed=seed)
    rows = [
        [name, number(float(result)), change(float(result), gain.value_b)]
        for name, result in (
            ("all sessions", before),
            (f"without the lowest {fraction:.1%}", after),
            ("without the corrupted, were they known", ideal),
        )
    ]
    table(["training data", f"{METRIC} on test", "change"], rows)
    if not fraction:
        say("For the choice sessions no removal is better than none; more sessions help.")
        return removal, fraction, gain, float(ideal)
    say(
        f"The change by pruning is {gain.difference:+.4f}, 95% interval {gain.low:+.4f} to "
        f"{gain.high:+.4f} (p = {gain.p_value:.2g})."
    )
    if float(after) > float(ideal):
        say(WHY)
    return removal, fraction, gain, float(ideal)


def _counts(data: Interactions) -> str:
    counts = data.describe()
    return f"{counted(counts['sessions'], 'session')} ({counted(counts['rows'], 'click')})"
