"""A recommender of the library implicit in Whence: evaluated, and its training data valued.

Needs ``pip install implicit``.
"""

from implicit.bpr import BayesianPersonalizedRanking
from implicit.nearest_neighbours import CosineRecommender

import whence
from whence.models.adapters import ImplicitModel

# Sessions: the nearest neighbours of implicit score any history, so any session can be asked for.
data = whence.make_sessions(n_sessions=400, n_validation=100, n_test=100, seed=1)
neighbours = ImplicitModel(CosineRecommender(K=50)).fit(data.train)
print("Cosine:", whence.evaluate(neighbours, data.validation, ["mrr@20", "recall@20"]).scores)

# Users: the same clicks, taken as the likes of users, whose last one is to be found.
likes = data.train.frame.rename({"session_id": "user_id"}).unique(
    ["user_id", "item_id"], keep="first", maintain_order=True
)
last = likes.group_by("user_id", maintain_order=True).tail(1)
earlier = likes.join(last, on=["user_id", "item_id"], how="anti", maintain_order="left")
factors = ImplicitModel(
    BayesianPersonalizedRanking(
        factors=32, iterations=200, learning_rate=0.05, random_state=1, num_threads=1
    )
).fit(earlier)
print("BPR:", whence.evaluate(factors, last, ["mrr@20", "recall@20"]).scores)
user = last["user_id"][0]
items, scores = factors.recommend(user, k=3)
print(f"BPR recommends to user {user}:", items.tolist())

# Any method that needs only fit and recommend works on it: which sessions hurt the most?
suspects = data.train.source_ids.to_list()[:20]
method = whence.RetrainingLeaveOneOut("mrr@20", sources=suspects)
print(method.attribute(neighbours, data.validation).bottom(3))
