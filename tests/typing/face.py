"""What type checkers and editors see of the public face; checked by mypy, never run.

A comment that tells mypy to ignore an error is an error itself where there is none.
"""

from typing import Any

import polars as pl
from typing_extensions import assert_type

import whence

model = whence.VMISKNN(k=100)
assert_type(model, whence.VMISKNN)
assert_type(model.fit(None), whence.VMISKNN)
assert_type(whence.SASRec(embedding_dim=8, epochs=2).fit(None), whence.SASRec)
assert_type(whence.Shapley("mrr@20"), whence.Shapley)
assert_type(whence.Shapley("mrr@20", tolerance=0.1).attribute(model, None), whence.Attribution)
assert_type(whence.LeaveOneOut("mrr@20").attribute(model, None), whence.Attribution)
assert_type(whence.TracIn(by="session").attribute(model, None), whence.Influence)
assert_type(whence.InfluenceFunction(solver="cg").attribute(model, None), whence.Influence)
assert_type(whence.explain(model, []), whence.Explanation)
assert_type(whence.explain_many(model, []), whence.Explanations)
assert_type(whence.because(model, []), pl.DataFrame)
assert_type(whence.evaluate(model, None), whence.Evaluation)
assert_type(whence.read_interactions("train.csv"), whence.Interactions)
assert_type(whence.Run(seed=1, threads=2).seed, int | None)
assert_type(model.params, dict[str, Any])

whence.Shapley(metrc="mrr@20")  # type: ignore[call-arg]
whence.VMISKNN(100)  # type: ignore[call-arg]
whence.SASRec(embeding_dim=8)  # type: ignore[call-arg]
whence.TracIn(wieghting="adam")  # type: ignore[call-arg]
whence.GRU4Rec(optimizer="adan")  # type: ignore[arg-type]
whence.Shapely  # type: ignore[attr-defined]
