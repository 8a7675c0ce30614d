"""Time, memory and error of TracIn for an LSTM and a NeuMF, beside other libraries.

Run ``python benchmarks/tracin.py``; it prints a table, and with ``--write`` puts it into
``benchmarks/TRACIN_RESULTS.md``. The LSTM has embedding 64, hidden 64, windows of 50 and 3,706
items with the popularity of ML-1M's (``--data`` with a ``ratings.dat``) or a similar one, random
weights, one checkpoint, all 511,418 parameters, float32. CPU seconds of one thread, the least of
``--runs`` runs, because the machine may be shared; sizes that would take hours are extrapolated
from two smaller ones, and say so. captum and dattri are timed where they are installed.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import time
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
import torch

import whence
from whence.engines import kept_memory
from whence.influence import TracIn
from whence.influence.result import Influence
from whence.influence.screening import has_fast_bfloat16
from whence.models.training import Examples

RESULTS = Path(__file__).resolve().parent / "TRACIN_RESULTS.md"
N_ITEMS, WINDOW = 3706, 50
os.environ.setdefault("TQDM_DISABLE", "1")  # bars of others


class Numbered(Examples):
    """Some of a model's examples, by new numbers; as queries, with negatives of another epoch."""

    def __init__(self, examples, numbers, epoch=0):
        self.train = examples.train
        self.examples, self.numbers, self.epoch = examples, numbers, epoch

    def __len__(self):
        return len(self.numbers)

    def batch(self, numbers, epoch=None):
        """Tensors of some of them."""
        return self.examples.batch(self.numbers[numbers], self.epoch)

    def rows(self, numbers):
        """Rows that some of them are made of."""
        return self.examples.rows(self.numbers[numbers])

    def sources(self, numbers):
        """Session or user of each."""
        return self.examples.sources(self.numbers[numbers])


def cpu_seconds(work, runs=1):
    """Least CPU seconds of some runs, and the last result."""
    best, result = float("inf"), None
    for _ in range(runs):
        started = time.process_time()
        result = work()
        best = min(best, time.process_time() - started)
    return best, result


def popularity(path):
    """Probability of each item."""
    if path is None:
        weights = 1.0 / (np.arange(N_ITEMS) + 60.0) ** 1.1
    else:
        counts = pl.read_csv(path, separator=":", has_header=False)["column_3"].value_counts()
        weights = counts["count"].sort(descending=True).to_numpy()[:N_ITEMS].astype(float)
    return weights / weights.sum()


def untrained(model, table):
    """A model that is prepared for training, with its first parameters."""
    train = whence.Interactions.from_frame(table)
    model.learning_rate = 1.0
    model._check_params()
    model.train_ = train
    model._prepare(train)
    model.module_.eval()
    return model


def lstm_model(n, chances):
    """The LSTM with full windows for n examples and 1,000 queries."""
    rng = np.random.default_rng(0)
    per_session = 60
    n_sessions = (n + 1000) // per_session + 70
    items = rng.choice(N_ITEMS, size=(n_sessions, per_session + WINDOW), p=chances)
    items.ravel()[:N_ITEMS] = np.arange(N_ITEMS)
    table = pl.DataFrame(
        {
            "session_id": np.repeat(np.arange(n_sessions), items.shape[1]),
            "item_id": items.ravel(),
            "timestamp": np.arange(items.size),
        }
    )
    model = untrained(whence.LSTMRec(embedding_dim=64, hidden_dim=64, max_length=WINDOW), table)
    lengths = model.examples_.batch(np.arange(len(model.examples_)))["length"].numpy()
    return model, np.flatnonzero(lengths == WINDOW)


def neumf_model(n, chances, **arguments):
    """NeuMF for n interactions of 6,040 users."""
    rng = np.random.default_rng(1)
    items = rng.choice(N_ITEMS, size=n, p=chances)
    items[:N_ITEMS] = np.arange(N_ITEMS)
    users = rng.integers(0, 6040, n)
    table = pl.DataFrame({"user_id": users, "item_id": items, "timestamp": np.arange(n)})
    return untrained(whence.NeuMF(**arguments), table)


def sized(model, numbers, n, n_queries):
    """The model with n examples, and queries that are none of them."""
    model.examples_ = Numbered(getattr(model.examples_, "examples", model.examples_), numbers[:n])
    return model, Numbered(model.examples_.examples, numbers[n : n + n_queries], epoch=7)


class Scores(torch.nn.Module):
    """Scores of windows, as other libraries want them."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, items, length):
        """Scores [B, n_items] of full windows, without what vmap cannot follow."""
        module = self.module
        return module.output(module.lstm(module.embedding(items))[0][:, -1])


def tensors(examples, n):
    batch = examples.batch(np.arange(n))
    return batch["items"], batch["length"], batch["target"]


def extrapolated(work, n, small=(64, 192)):
    """CPU seconds for n training examples, from two smaller numbers of them."""
    times = [cpu_seconds(lambda size=size: work(size), 2)[0] for size in small]
    slope = (times[1] - times[0]) / (small[1] - small[0])
    return times[0] + slope * (n - small[0])


def captum_seconds(model, queries, n, n_queries, batch_size, fast=False):
    from captum.influence import TracInCP, TracInCPFast

    net = Scores(model.module_)
    asked = tensors(queries, n_queries)

    def work(size):
        data = torch.utils.data.TensorDataset(*tensors(model.examples_, size))
        arguments = {"checkpoints_load_func": lambda net, path: 1.0, "batch_size": batch_size}
        if fast:
            loss = torch.nn.CrossEntropyLoss(reduction="sum")
            tracing = TracInCPFast(net, net.module.output, data, ["0"], loss_fn=loss, **arguments)
        else:
            loss = torch.nn.CrossEntropyLoss(reduction="none")
            tracing = TracInCP(net, data, ["0"], loss_fn=loss, **arguments)
        return tracing.influence(asked)

    return extrapolated(work, n)


def dattri_seconds(model, queries, n, n_queries):
    from dattri.algorithm.tracin import TracInAttributor
    from dattri.task import AttributionTask

    net = Scores(model.module_)

    def loss(parameters, data):
        items, length, target = (part.unsqueeze(0) for part in data)
        scores = torch.func.functional_call(net, parameters, (items, length))
        return torch.nn.functional.cross_entropy(scores, target)

    def loader(examples, size):
        data = torch.utils.data.TensorDataset(*tensors(examples, size))
        return torch.utils.data.DataLoader(data, batch_size=64)

    def work(size):
        task = AttributionTask(loss, net, dict(net.state_dict()))
        attributor = TracInAttributor(task, torch.ones(1), normalized_grad=False)
        attributor.projector_kwargs = None  # without this it projects to 512 dimensions
        return attributor.attribute(loader(model.examples_, size), loader(queries, n_queries))

    return extrapolated(work, n)


def loop_seconds(model, queries, n, n_queries):
    """Back-propagation of one example at a time."""
    parameters = list(model.module_.parameters())

    def gradients(examples, size):
        batch, rows = examples.batch(np.arange(size)), []
        for number in range(size):
            one = {name: tensor[number : number + 1] for name, tensor in batch.items()}
            found = torch.autograd.grad(model.example_loss(one).sum(), parameters)
            rows.append(torch.cat([part.flatten() for part in found]))
        return torch.stack(rows)

    asked = gradients(queries, n_queries)
    return extrapolated(lambda size: gradients(model.examples_, size) @ asked.T, n)


def epoch_seconds(model, n, runs):
    """One epoch of training over n examples, as `fit` does it."""
    from whence.models.training.loop import Training
    from whence.models.training.order import batch_order
    from whence.models.training.settings import TrainingSettings

    training = Training(model, TrainingSettings())
    order = batch_order(n, 0, 0)

    def work():
        model.module_.train()
        for start in range(0, n, model.batch_size):
            batch = model.examples_.batch(order[start : start + model.batch_size])
            loss = model.example_loss(batch).mean()
            training.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            # A step of size 0 leaves the parameters as they are.
            training.optimizer.step()
        model.module_.eval()

    for group in training.optimizer.param_groups:
        group["lr"] = 0.0
    with kept_memory():
        return cpu_seconds(work, runs)[0]


def error(model, queries, method, n=200, n_queries=20):
    """Largest difference from float64, relative to the largest score, on a part."""
    part = Numbered(model.examples_.examples, model.examples_.numbers[:n])
    some = Numbered(queries.examples, queries.numbers[:n_queries], epoch=7)
    whole, model.examples_ = model.examples_, part
    exact = TracIn(checkpoints="final", precision="float64").matrix(model, some)
    got = method.matrix(model, some)
    model.examples_ = whole
    return float(np.abs(got - exact).max() / np.abs(exact).max())


def streamed(method, model, queries):
    """The largest and smallest scores of each query, as they go by."""
    result = method.per_query(model, queries, 10)
    assert isinstance(result, Influence)
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="ratings.dat of ML-1M")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="nothing of 100,000 examples")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    chances = popularity(arguments.data)
    rows = []

    def note(what, size, seconds, remark="", aim=None):
        wanted = "" if aim is None else f"{aim} s"
        rows.append((what, size, seconds, wanted, remark))
        print(f"{what:44} {size:>18} {seconds:10.2f} s  {wanted:>5}  {remark}", flush=True)

    n_large = 10_000 if arguments.quick else 100_000
    model, full = lstm_model(n_large, chances)
    method = TracIn(checkpoints="final")
    sized(model, full, 2000, 100)
    streamed(method, *sized(model, full, 2000, 100))  # kernels are compiled
    method.attribute(*sized(model, full, 300, 10))
    lstm_of_10_000(model, full, method, arguments.runs, note)
    if not arguments.quick:
        lstm_of_100_000(model, full, method, arguments.runs, note)
        neumf(chances, method, arguments.runs, note)
    if not arguments.no_peers:
        peers(model, full, note)
    if arguments.write:
        write(rows)


def lstm_of_10_000(model, full, method, runs, note):
    """Lists, matrix and sums of 10,000 examples."""
    _, queries = sized(model, full, 10_000, 1000)
    found = error(model, queries, method)
    for n_queries, aim in ((100, 3), (1000, None)):
        _, queries = sized(model, full, 10_000, n_queries)
        size = f"10,000 x {n_queries:,}"
        seconds = cpu_seconds(lambda q=queries: streamed(method, model, q), runs)[0]
        note("Whence, top 10 per query", size, seconds, f"error {found:.0e}", aim)
        seconds = cpu_seconds(lambda q=queries: method.matrix(model, q), runs)[0]
        note("Whence, all scores", size, seconds, f"error {found:.0e}")
    half = TracIn(checkpoints="final", precision="bfloat16")
    seconds = cpu_seconds(lambda: half.matrix(model, queries), runs)[0]
    remark = f"error {error(model, queries, half):.0e}"
    note("Whence, all scores, bfloat16 products", "10,000 x 1,000", seconds, remark)
    seconds = cpu_seconds(lambda: method.attribute(model, queries), runs)[0]
    note("Whence, summed over queries", "10,000 x 1,000", seconds)
    last = TracIn(checkpoints="final", layers="last")
    seconds = cpu_seconds(lambda: streamed(last, model, queries), runs)[0]
    note("Whence, last layer, top 10 per query", "10,000 x 1,000", seconds)


def lstm_of_100_000(model, full, method, runs, note):
    """Sums and lists of 100,000 examples, and an epoch of training."""
    size = "100,000 x 1,000"
    _, queries = sized(model, full, 100_000, 1000)
    seconds = cpu_seconds(lambda: method.attribute(model, queries), runs)[0]
    note("Whence, summed over queries", size, seconds, aim=18)
    note("one epoch of training", "100,000", epoch_seconds(model, 100_000, runs))
    seconds = cpu_seconds(lambda: streamed(method, model, queries))[0]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    note("Whence, top 10 per query", size, seconds, f"{memory:.1f} GB at most", 60)


def neumf(chances, method, runs, note):
    """NeuMF, as it is by default and smaller."""
    numbers = np.random.default_rng(2).permutation(101_000)
    size = "100,000 x 1,000"
    for name, extra in (
        ("NeuMF by default", {}),
        ("NeuMF of 8 factors", {"gmf_dim": 8, "mlp_dim": 16, "layers": (16, 8)}),
    ):
        pairs = neumf_model(101_000, chances, **extra)
        pairs, queries = sized(pairs, numbers, 100_000, 1000)
        run = partial(streamed, method, pairs, queries)
        run()
        seconds = cpu_seconds(run, runs)[0]
        remark = f"error {error(pairs, queries, method):.0e}"
        note(f"Whence, {name}, top 10 per query", size, seconds, remark, 3)
        seconds = cpu_seconds(partial(method.attribute, pairs, queries), runs)[0]
        note(f"Whence, {name}, summed over queries", size, seconds)


def peers(model, full, note):
    """captum, dattri and a plain loop, on the same examples."""
    remark = "extrapolated"
    for n_queries, batch_sizes in ((100, (1, 16, 64)), (1000, (16,))):
        _, queries = sized(model, full, 10_000, n_queries)
        size = f"10,000 x {n_queries:,}"
        # Others keep the gradients of all queries, 511,418 numbers each, and copies of them.
        if free_memory() < 3 * n_queries * 511_418 * 4:
            print(f"too little memory is free for others with {n_queries} queries")
            continue
        seconds = loop_seconds(model, queries, 10_000, n_queries)
        note("loop of back-propagation", size, seconds, remark)
        try:
            for batch_size in batch_sizes:
                seconds = captum_seconds(model, queries, 10_000, n_queries, batch_size)
                note(f"captum TracInCP, batch {batch_size}", size, seconds, remark)
            seconds = captum_seconds(model, queries, 10_000, n_queries, 64, fast=True)
            note("captum TracInCPFast (weight of last layer)", size, seconds, remark)
        except ImportError:
            print("captum is not installed")
        try:
            if n_queries == 100:
                seconds = dattri_seconds(model, queries, 10_000, n_queries)
                note("dattri TracInAttributor, not projected", size, seconds, remark)
        except ImportError:
            print("dattri is not installed")


def free_memory():
    """Bytes."""
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def processor():
    """Name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def write(rows):
    half = "with" if has_fast_bfloat16() else "without"
    lines = [
        "# TracIn: results",
        "",
        "Made by `python benchmarks/tracin.py --write`. CPU seconds of one thread, all in one run;",
        "LSTM with embedding 64, hidden 64, windows of 50, 3,706 items, all parameters, one",
        "checkpoint, float32. Errors are the largest difference from float64 relative to the",
        f"largest score. {processor()}, {half} products in bfloat16, Python",
        f"{platform.python_version()}, torch {torch.__version__}.",
        "",
        "| what | training examples x queries | CPU seconds | aim | |",
        "|---|---|---:|---:|---|",
        *(
            f"| {what} | {size} | {seconds:.2f} | {aim} | {remark} |"
            for what, size, seconds, aim, remark in rows
        ),
        "",
    ]
    RESULTS.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
