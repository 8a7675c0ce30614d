"""``whence sustainability``: how sustainable recommendations are, beside what they are made of."""

from __future__ import annotations

from pathlib import Path

from whence.cli import _options as options
from whence.cli._commands import Given, command
from whence.cli._terminal import heading, say, table

_SHOWN = 10


@command(
    *options.DATA, options.TEST, options.SPLIT, *options.COLUMNS, options.SUSTAINABLE,
    options.UNKNOWN, options.MODEL, *options.NEIGHBOURS, options.METRICS, options.SEED,
    *options.OUTPUT,
)  # fmt: skip
def sustainability(
    given: Given, source: options.ConfigFile = None, threads: options.Threads = None
) -> None:
    """Say how many of the items are sustainable: in the catalogue, the data and the lists.

    For example: whence sustainability --train train.csv --valid valid.csv --model vmis
    --sustainable sustainable.csv
    """
    from whence.cli._fitting import fit, queries_as_configured
    from whence.cli._output import check_free, write_json
    from whence.cli._runs import config_of_environment, found_config
    from whence.config import read_parts
    from whence.curation import sustainability as found_of
    from whence.data import write_interactions
    from whence.errors import ConfigError
    from whence.evaluation import parse_metric

    file, _ = found_config(source)
    config = given.config(file or config_of_environment(given))
    folder = None if config.output.directory is None else Path(config.output.directory)
    if folder is not None:
        check_free(folder, overwrite=config.output.overwrite)
    k = parse_metric(config.evaluation.metrics[0].replace("sustainable", "")).k
    parts = read_parts(config)
    asked = parts.test if parts.test is not None else parts.validation
    if asked is None:
        raise ConfigError("There is nothing to ask; name a file with --valid or --test.")
    if parts.sustainable_items is None:
        raise ConfigError("Name the file that lists the sustainable items with --sustainable.")
    model = config.build_model()
    model._check_params()
    queries = queries_as_configured(config, parts, model, asked)
    model = fit(config, parts, model=model, threads=threads)
    found = found_of(model, queries, parts.sustainable_items, k=k, threads=threads)
    heading(f"Sustainable items, lists of {found.k}")
    rows = [
        [row["of"], f"{row['n']:,}", f"{row['share']:.1%}",
         "" if row["low"] is None else f"{row['low']:.1%} to {row['high']:.1%}"]
        for row in found.shares.iter_rows(named=True)
    ]  # fmt: skip
    table(["of", "n", "sustainable", "95%"], rows)
    say()
    heading("Sustainable items that are recommended least, for how often they are in the data")
    few = found.items.filter("sustainable").head(_SHOWN)
    table(list(few.columns), [[*row[:-1], f"{row[-1]:.2f}"] for row in few.iter_rows()])
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        write_interactions(found.shares, folder / "shares.csv", overwrite=True)
        write_interactions(found.items, folder / "items.csv", overwrite=True)
        write_json({"k": found.k, "command": "sustainability"}, folder / "summary.json")
        say(f"Written to {folder}: shares.csv and items.csv.")
    say("Next: whence experiment prune --aim st@20 with the same data, to see what would raise it.")
