"""A recommender of Cornac in Whence: evaluated, asked, and compared with one of Whence.

Needs ``pip install cornac``.
"""

import cornac

import whence
from whence.models.adapters import CornacModel

# The likes of users: the clicks of sessions, of which the last one is to be found.
clicks = whence.make_sessions(n_sessions=400, seed=1).train.frame
likes = clicks.rename({"session_id": "user_id"}).unique(
    ["user_id", "item_id"], keep="first", maintain_order=True
)
last = likes.group_by("user_id", maintain_order=True).tail(1)
earlier = likes.join(last, on=["user_id", "item_id"], how="anti", maintain_order="left")

# Whatever numbers Cornac gives to users and items, the caller's ids go in and come out.
model = CornacModel(cornac.models.BPR(k=32, max_iter=100, learning_rate=0.05, seed=1)).fit(earlier)
user = last["user_id"][0]
items, scores = model.recommend(user, k=3)
print(f"Cornac's BPR recommends to user {user}:", items.tolist())

popular = whence.Popularity(exclude_seen=True).fit(earlier)
for name, recommender in {"BPR": model, "Popularity": popular}.items():
    print(f"{name}:", whence.evaluate(recommender, last, ["mrr@20", "recall@20"]).scores)
