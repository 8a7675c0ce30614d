"""Times Illoominate 1.0.0; run by knn_valuation.py with an interpreter that has it."""

import json
import sys
import time
from pathlib import Path

import illoominate
import pandas as pd


def report(what, work):
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    facts = {
        "what": what,
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "mean": float(result["score"].mean()),
    }
    print(json.dumps(facts), flush=True)


def main():
    data = Path(sys.argv[1])

    def read(folder, name):
        return pd.read_csv(data / folder / name, sep="\t")

    sessions = {
        "train_df": read("rsc15-100k", "train.csv"),
        "validation_df": read("rsc15-100k", "valid.csv"),
        "model": "vmis",
        "metric": "mrr@20",
        "params": {"m": 500, "k": 100, "seed": 42},
    }
    baskets = {
        "train_df": read("tafeng-1k", "train.csv"),
        "validation_df": read("tafeng-1k", "valid.csv"),
        "model": "tifu",
        "metric": "ndcg@20",
        "params": {"m": 7, "k": 100, "r_b": 0.9, "r_g": 0.7, "alpha": 0.7, "seed": 42},
    }
    report("RSC15, fit and evaluate", lambda: illoominate.train_and_evaluate_for_sbr(**sessions))
    report("RSC15, K-LOO", lambda: illoominate.data_loo_values(**sessions))
    report("TaFeng, K-LOO", lambda: illoominate.data_loo_values(**baskets))
    hundred = {**sessions, "params": {**sessions["params"], "max_iterations": 100}}
    report(
        "RSC15, KMC-Shapley, 100 permutations", lambda: illoominate.data_shapley_values(**hundred)
    )


if __name__ == "__main__":
    main()
