"""GRU4Rec on sessions with repeated items: RecBole and Whence, from one and the same file.

    python recbole_repeated.py whence DATA     # where whence is installed
    python recbole_repeated.py recbole DATA    # where RecBole 1.2.1 is installed

DATA is the folder of the RSC15 sample (``train.csv``, tab-separated). Its first 20,000 rows are
written as an atomic file, each session a user; each side filters, splits, trains and tests by
`CONFIG`, for three seeds, on one thread. A line of results is printed for each seed.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

SEEDS = (2020, 1, 2)
ROWS = 20_000
CONFIG = """\
dataset: clicks
data_path: {folder}
USER_ID_FIELD: session_id
ITEM_ID_FIELD: item_id
TIME_FIELD: timestamp
load_col:
  inter: [session_id, item_id, timestamp]
user_inter_num_interval: "[5,inf)"
item_inter_num_interval: "[5,inf)"
embedding_size: 64
epochs: 60
train_batch_size: 512
train_neg_sample_args: ~
metrics: [Recall, MRR]
topk: [20]
valid_metric: MRR@20
repeatable: True
use_gpu: False
show_progress: False
seed: {seed}
"""


def write_clicks(source: Path, folder: Path) -> None:
    """Write the first rows of a table of clicks as RecBole's atomic file."""
    (folder / "clicks").mkdir()
    with open(source, newline="") as given, open(folder / "clicks" / "clicks.inter", "w") as out:
        rows = csv.DictReader(given, delimiter="\t")
        out.write("session_id:token\titem_id:token\ttimestamp:float\n")
        for _, row in zip(range(ROWS), rows):
            out.write(f"{row['session_id']}\t{row['item_id']}\t{row['timestamp']}\n")


def by_whence(config: Path, folder: Path) -> dict[str, float]:
    """Train and test by the command line."""
    output = folder / "run"
    command = [sys.executable, "-c", "from whence.cli import main; main()", "train", str(config)]
    command += ["--model", "GRU4Rec", "--output", str(output), "--overwrite", "--quiet"]
    subprocess.run(command, check=True)
    found = json.loads((output / "metrics.json").read_text())
    return {name: found["test"]["scores"][name] for name in ("recall@20", "mrr@20")}


def by_recbole(config: Path, folder: Path) -> dict[str, float]:
    """Train and test by RecBole's quick start."""
    import torch
    from recbole.quick_start import run_recbole

    torch.set_num_threads(1)
    sys.argv = sys.argv[:1]  # RecBole reads them as settings
    found = run_recbole(
        model="GRU4Rec",
        config_file_list=[str(config)],
        config_dict={"checkpoint_dir": str(folder), "state": "ERROR"},
    )
    return {name: float(found["test_result"][name]) for name in ("recall@20", "mrr@20")}


def main(which: str, data: str) -> None:
    """Print the metrics of each seed."""
    run = {"whence": by_whence, "recbole": by_recbole}[which]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_clicks(Path(data) / "train.csv", folder)
        for seed in SEEDS:
            config = folder / "config.yaml"
            config.write_text(CONFIG.format(folder=folder, seed=seed))
            print(which, seed, run(config, folder), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
