"""Sections of what takes long to compute, from tables as their commands write them."""

from __future__ import annotations

import json

import polars as pl
import pytest

from whence.reporting.blocks import Chart, Picture, Table
from whence.reporting.folders import read_folders
from whence.reporting.reports import contents

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010806000000"
    "1f15c4890000000d49444154789c6360000002000001e221bc330000000049454e44ae426082"
)
CURVES = {
    "metric": ["mrr@5"] * 3 + ["coverage@5"],
    "data": ["test"] * 4,
    "order": ["random", "random", "least", "least"],
    "fraction": [0.0, 0.1, 0.1, 0.1],
    "value": [0.3, 0.29, 0.31, 0.7],
    "low": [0.3, 0.28, 0.3, 0.6],
    "high": [0.3, 0.3, 0.32, 0.8],
}  # fmt: skip
OLDER = {name: CURVES[name][:3] for name in ("order", "fraction", "value", "low", "high")}
GAINS = {
    "order": ["least", "random"], "metric": ["mrr@5", "mrr@5"], "gained": [0.02, None],
    "gained_low": [0.01, None], "gained_high": [0.03, None],
}  # fmt: skip
FRONTIER = {
    "order": ["least", "least"], "share": [0.0, 0.1], "mrr@5": [0.3, 0.29], "st@5": [0.1, 0.2],
}  # fmt: skip
FOUND = {
    "attack": ["bots", "bots", "noise", "noise"], "method": ["loss", "random"] * 2,
    "precision": [0.5, 0.1, 0.4, 0.2], "precision_low": [0.4, 0.0, 0.3, 0.1],
    "precision_high": [0.6, 0.2, 0.5, None],
}  # fmt: skip
AUDITED = {
    "measure": ["distance"] * 2, "request": ["any user"] * 2, "epochs": [0, 0],
    "model": ["original", "forgotten"], "mean": [0.4, 0.1], "low": [0.3, None], "high": [0.5, None],
}  # fmt: skip
STRATEGIES = {
    "strategy": ["social", "all"], "wv": [1.0, 2.0], "quality": [-1.1, -1.0],
    "quality ±": [0.1, None],
    "reward": [-1.2, -1.3], "reward ±": [0.1, None], "to": ["", "social"], "lam": [0.1, 0.1],
}  # fmt: skip
RUNS = {
    "strategy": ["social", "social", "random"], "matched": ["", "", "social"],
    "lam_share": [1.0] * 3, "start": ["other"] * 3, "seed": [0, 1, 0], "wv": [1.5, 2.5, 9.0],
    "quality": [-1.0, -1.2, -3.0],
}  # fmt: skip
VERSUS = {
    "lam_share": [1.0, 1.0, 3.0], "start": ["other"] * 3, "strategy": ["social"] * 3,
    "than": ["random", "random", "all"], "matched": ["number", "violation", None],
    "difference": [0.1, 0.2, 0.3], "±": [0.05, 0.1, None], "better": ["yes", "yes", "unclear"],
}  # fmt: skip
CHANGED = {
    "order": ["least"] * 3, "item_id": [7, 8, 9], "title": ["<b>", "Tea", "Milk"],
    "sustainable": [True, False, False], "before": [3.0, 2.0, 1.0], "after": [5.0, 1.0, 1.0],
    "change": [2.0, -1.0, 0.0],
}  # fmt: skip
ARMS = {
    "metric": ["mrr@5"] * 3 + ["recall@5"] * 2,
    "arm": ["none", "loss", "popularity", "none", "loss"],
    "mean": [0.3, 0.32, 0.1, 0.4, 0.41], "vs_none": [None, 0.02, None, None, 0.01],
    "vs_none_low": [None, 0.01, None, None, 0.0], "vs_none_high": [None, 0.03, None, None, 0.02],
}  # fmt: skip
SCORES = {
    "about": ["this run"] * 3, "method": ["tracin", "tracin", "random"], "runs": [1, 1, 1],
    "outcome": ["total", "single", "total"], "kind": ["lds", "lds", "correlation"],
    "score": [0.7, 0.5, 0.0], "low": [0.6, 0.4, -0.1], "high": [0.8, 0.6, 0.1],
}  # fmt: skip
MEASURES = {
    "masking": ["pad", "remove"] * 2, "measure": ["deletion_auc"] * 2 + ["insertion_auc"] * 2,
    "order": ["exact"] * 4, "mean": [0.2, 0.3, 0.9, 0.8], "low": [0.1, 0.2, 0.8, 0.7],
    "high": [0.3, 0.4, 1.0, 0.9],
}  # fmt: skip
TIMES = {
    "step": ["fit"] * 3, "n_clicks": [10, 30, 30], "n_queries": [5, 5, 5], "threads": [1, 1, 2],
    **{f"{name}{end}": [1.0, 3.0, 2.0] for name in ("seconds", "cpu_seconds", "memory_mb")
       for end in ("", "_low", "_high")},
}  # fmt: skip
GAINED = "Gained by removing what was chosen"
ASKED = {
    "query": [4, 4], "asked": ["target Jaws"] * 2, "side": ["proponent", "opponent"],
    "rank": [1, 1], "score": [2.0, -1.0], "target": ["<b>", "Alien"],
}  # fmt: skip
ITEMS = {"of": ["Jaws"] * 2, "item_id": [3, 4], "title": ["Alien", "Big"], "score": [1.5, -0.5]}
TRIALS = {"number": [0, 1], "value": [0.1, 0.2], "model.k": [10, 20]}
PLAN = {"row": [0, 1], "disclosed": [True, False]}


@pytest.mark.parametrize(
    ("command", "tables", "settings", "titles", "points"),
    [
        ("experiment removal", {"curves.csv": CURVES, "table.csv": GAINS}, {"metrics": ["mrr@5"]},
         ["mrr@5 on test data as training data are removed",
          "coverage@5 on test data as training data are removed", GAINED], [0.3, 0.29]),
        ("experiment removal", {"curves.csv": OLDER}, {"metrics": ["mrr@5"]},
         ["mrr@5 on test data as training data are removed"], [0.3, 0.29]),
        ("experiment prune", {"table.csv": GAINS, "frontier.csv": FRONTIER, "items.csv": CHANGED},
         {"metrics": ["mrr@5"], "aim": "st@5"},
         ["st@5 against mrr@5 on test data, over the share removed", GAINED,
          "Items that are recommended more or less often: least"], [0.1, 0.2]),
        ("experiment prune", {"choice.csv": CURVES}, {"metrics": ["mrr@5"], "aim": None},
         ["mrr@5 on the test part, by the share removed",
          "coverage@5 on the test part, by the share removed"], [0.3, 0.29]),
        ("experiment corruption", {"table.csv": FOUND}, {}, ["Precision"], [0.5, 0.4]),
        ("experiment opponents", {"table.csv": ARMS}, {},
         ["Difference from leaving nothing out (mrr@5)",
          "Difference from leaving nothing out (recall@5)"], [0.02]),
        ("experiment fidelity", {"scores.csv": SCORES}, {},
         ["lds, this run", "correlation, this run"], [0.7]),
        ("experiment explanation-fidelity", {"table.csv": MEASURES}, {},
         ["Deletion auc", "Insertion auc"], [0.2, 0.3]),
        ("experiment scaling", {"table.csv": TIMES}, {},
         ["CPU seconds against clicks", "Memory (MB) against clicks", "Seconds against threads"],
         [1.0, 3.0]),
        ("experiment forgetting", {"table.csv": AUDITED}, {}, ["Distance"], [0.4, 0.1]),
        ("experiment disclosure", {"runs.csv": RUNS, "table.csv": VERSUS}, {},
         ["What disclosure buys, over the weight of violations (other start)",
          "Difference of the reward from other strategies, λ 1 times λ_ref",
          "Difference of the reward from other strategies, λ 3 times λ_ref"], [2.0]),
        ("disclose",
         {"comparison.csv": STRATEGIES, "frontier.csv": STRATEGIES, "plan.csv": PLAN}, {},
         ["Reward per user", "Quality per user",
          "What disclosure buys, over the weight of violations"], [-1.2, -1.3]),
        ("trace", {"queries.parquet": ASKED}, {},
         ["Proponents and opponents of prediction 4"], [2.0, -1.0]),
        ("trace", {"items.csv": ITEMS}, {}, ["For and against Jaws"], [1.5, -0.5]),
    ],
)  # fmt: skip
def test_charts_of_tables(tmp_path, command, tables, settings, titles, points):
    made(tmp_path, command, tables, settings)
    blocks = all_blocks(tmp_path)
    charts = [block for block in blocks if isinstance(block, Chart)]
    assert [chart.title for chart in charts] == titles
    drawn = [trace for trace in charts[0].figure["data"] if trace.get("hoverinfo") != "skip"]
    assert any(list(trace["x"]) == points or list(trace["y"]) == points for trace in drawn)
    text = json.dumps([chart.figure for chart in charts])
    assert "<b>" not in text


def test_an_interval_that_is_unknown_is_not_drawn(tmp_path):
    made(tmp_path, "experiment forgetting", {"table.csv": AUDITED}, {})
    (chart,) = [block for block in all_blocks(tmp_path) if isinstance(block, Chart)]
    assert chart.figure["data"][0]["error_x"]["array"] == [pytest.approx(0.1), None]


def test_pictures_stand_in_where_there_is_no_chart(tmp_path):
    made(tmp_path, "experiment of-mine", {"table.csv": GAINS}, {})
    (tmp_path / "mrr-at-5.png").write_bytes(PIXEL)
    blocks = all_blocks(tmp_path)
    (picture,) = [block for block in blocks if isinstance(block, Picture)]
    assert picture.title.startswith("mrr@5 of ")
    assert "gained" in blocks[-1].frame.columns


def test_a_search(tmp_path):
    made(tmp_path, "tune", {"trials.csv": TRIALS}, {})
    (table,) = [block for block in all_blocks(tmp_path) if isinstance(block, Table)]
    assert table.frame["model.k"].to_list() == [10, 20]


def made(folder, command, tables, settings):
    (folder / "run.json").write_text(json.dumps({"command": command, "data": {}}))
    (folder / "summary.json").write_text(json.dumps({"settings": settings}))
    for name, columns in tables.items():
        frame = pl.DataFrame(columns)
        write = frame.write_parquet if name.endswith("parquet") else frame.write_csv
        write(folder / name)


def all_blocks(folder):
    found = contents(read_folders([folder]))["sections"][1:]
    return [block for section in found for part in section.parts for block in part.blocks]
