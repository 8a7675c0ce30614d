r"""TimeSHAP on a value that ``benchmarks/explanation.py`` has written down; run by it.

``python explanation_timeshap.py FILE SAMPLES SEED …`` prints one line of JSON: shares, oldest event
first, CPU seconds and rows asked of each seed. TimeSHAP 1.0.4 needs an older shap than the one that
Whence draws with, and so an environment of its own:

    python -m venv timeshap
    timeshap/bin/pip install timeshap==1.0.4 shap==0.42.1 torch "numpy<2" "pandas<2.1" \
        "matplotlib<3.9"
    python benchmarks/explanation.py --timeshap timeshap/bin/python
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import torch
from timeshap.explainer.event_level import event_level


def main(path, n_samples, seeds):
    torch.set_num_threads(1)
    saved = {name: torch.from_numpy(array) for name, array in np.load(path).items()}
    size = saved["weight_hh"].shape[1]
    gru = torch.nn.GRU(saved["embedding"].shape[1], size, bias=False, batch_first=True)
    with torch.no_grad():
        gru.weight_ih_l0.copy_(saved["weight_ih"])
        gru.weight_hh_l0.copy_(saved["weight_hh"])
    asked = []

    def value(data):
        items = torch.from_numpy(np.ascontiguousarray(data[:, :, 0])).long()
        asked.append(len(items))
        with torch.inference_mode():
            last = gru(saved["embedding"][items])[1][0]
            return (last @ saved["head"] + saved["bias"]).unsqueeze(1).double().numpy()

    data = saved["tokens"].double().numpy()[None, :, None]
    baseline = saved["baseline"].double().numpy()[None]
    found = {"phi": [], "seconds": [], "rows": []}
    for seed in seeds:
        asked.clear()
        started = time.process_time()
        table = event_level(value, data, baseline, 0, seed, n_samples)
        found["seconds"].append(time.process_time() - started)
        shares = table["Shapley Value"].to_numpy(dtype=np.float64)[: data.shape[1]]
        found["phi"].append(shares[::-1].tolist())  # it gives the latest event first
        found["rows"].append(sum(asked))
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), [int(seed) for seed in sys.argv[3:]])
