"""What ``whence demo`` leaves behind: data, tables, pictures and a summary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from whence.cli._output import SUMMARY, write_json
from whence.data import write_interactions
from whence.plots import detection_curve, picture, removal_curve

if TYPE_CHECKING:
    import polars as pl

    from whence.cli.demo import Found

METRIC = "mrr@20"
K, M = 50, 100
TOLERANCE = 0.1
LEGEND = """\
In short:
  evaluation query     the beginning of a session; the model is asked what is clicked next
  mrr@20               how high in a list of 20 the next item is: 1 for the first place, 1/2 for
                       the second, ..., 0 where it is not in the list; the mean over all queries
  value of a session   its share of mrr@20: what it adds, on average, to fewer training sessions
  standard error       how far a value, or a mean, may be off, as the values are estimated from
                       random orders; "of the mean |value|": in relation to the mean size of a
                       value, whatever its sign"""
WHY = """\
Pruning by value can do better than removing exactly what was corrupted: sessions that nobody
corrupted may mislead, too (odd or outdated ones), and of the corrupted some do no harm, so that
without them a little is lost."""


def write(found: Found, folder: Path) -> None:
    """Write everything into a folder."""
    for name, part in found.data.items():
        write_interactions(part, folder / "data" / f"{name}.csv")
    labels = found.truth.frame.select(found.values.source, "corruption").unique(maintain_order=True)
    labels.write_csv(folder / "data" / "corrupted.csv")
    found.values.save(folder / "values.parquet")
    labelled = found.values.frame.join(labels, on=found.values.source, how="left")
    labelled.sort("score").write_csv(folder / "values.csv")
    found.report.write_csv(folder / "detection.csv")
    found.removal.write_csv(folder / "removal.csv")
    _draw(found, folder)
    (folder / "config.yaml").write_text(_config(found), encoding="utf-8")
    (folder / "summary.md").write_text(_summary(found), encoding="utf-8")
    write_json(
        {
            "values": found.values.metadata,
            "detection": found.report.to_dicts(),
            "fraction_removed": found.fraction,
            "test": found.gain.to_frame().row(0, named=True),
            "test_without_corrupted": found.ideal,
        },
        folder / SUMMARY,
    )


def _draw(found: Found, folder: Path) -> None:
    with picture(folder / "distribution.png") as ax:
        found.values.plot(ax=ax)
    with picture(folder / "detection.png") as ax:
        detection_curve(found.detection, ax=ax, n_corrupted=len(found.truth.corrupted))
    with picture(folder / "removal.png") as ax:
        removal_curve(found.removal, ax=ax, chosen=found.fraction, label=METRIC)


def _config(found: Found) -> str:
    keys = {
        "data": {
            "train": "data/train.csv",
            "validation": "data/validation.csv",
            "test": "data/test.csv",
        },
        "model": {"name": "vmis", "k": K, "m": M},
        "evaluation": {"metrics": [METRIC]},
        "attribution": {
            "method": "shapley",
            "tolerance": TOLERANCE,
            "seed": found.values.metadata["seed"],
        },
        "output": {"directory": "values"},
    }
    first = (
        "# whence value config.yaml; whence evaluate config.yaml. Paths are relative to this file."
    )
    return f"{first}\n{yaml.safe_dump(keys, sort_keys=False)}"


def _summary(found: Found) -> str:
    gain, truth = found.gain, found.truth
    kinds = truth.frame.unique(found.values.source)["corruption"].value_counts()
    planted = ", ".join(
        f"{count} {kind}" for kind, count in sorted(kinds.iter_rows()) if kind != "none"
    )
    n_corrupted, share = len(truth.corrupted), f"{found.fraction:.1%}"
    pruned, ideal = change(gain.value_a, gain.value_b), change(found.ideal, gain.value_b)
    return f"""# Finding corrupted sessions by their value

{n_corrupted} of {len(found.values):,} generated training sessions are corrupted ({planted}).

{_legend()}

## Values

{found.values.summary()}

![How the values are spread](distribution.png)

## Detection

How many of the {n_corrupted} sessions that a ranking suspects most are corrupted (precision), and
how well it tells corrupted from other sessions altogether.

{_markdown(found.report)}

![How soon the corrupted sessions turn up](detection.png)

## Pruning

The lowest {share} of the values are removed: the share that is best for sessions which neither
the values nor this result come from.

| training data | {METRIC} on test | change |
|---|---|---|
| all sessions | {gain.value_b:.4f} | |
| without the lowest {share} | {gain.value_a:.4f} | {pruned} |
| without the corrupted, were they known | {found.ideal:.4f} | {ideal} |

The change by pruning is {gain.difference:+.4f}, with a 95% interval of {gain.low:+.4f} to
{gain.high:+.4f} (p = {gain.p_value:.2g}, {gain.n_queries:,} queries).

{_why(found)}![The metric as sessions are removed](removal.png)

## Files

- `data/`: the generated sessions, and which of them are corrupted
- `values.parquet`, `values.csv`: the value of every training session
- `detection.csv`, `removal.csv`: the tables behind the pictures
- `config.yaml`: computes the values again with `whence value config.yaml`
"""


def _legend() -> str:
    return f"```text\n{LEGEND}\n```"


def _why(found: Found) -> str:
    return f"{WHY}\n\n" if found.fraction and found.gain.value_a > found.ideal else ""


def _markdown(report: pl.DataFrame) -> str:
    lines = ["| ranking | precision | recall | AUC | average precision |", "|---|---|---|---|---|"]
    for name, *row in report.select(
        "ranking", "precision", "recall", "auc", "average_precision"
    ).iter_rows():
        lines.append(f"| {name} | {' | '.join(f'{value:.3f}' for value in row)} |")
    return "\n".join(lines)


def change(value: float, before: float) -> str:
    """Format a change, absolute and relative."""
    return f"{value - before:+.4f} ({value / before - 1:+.1%})" if value != before else ""
