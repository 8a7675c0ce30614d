"""Suites that every recommender and every method of attribution passes, for one's own, too.

They raise `AssertionError` with one sentence that names the class and what it should do. They need
no test runner; with pytest they are one line::

    def test_contract():
        check_recommender(MyModel(size=3))
"""

from whence.testing.attributor import check_attributor
from whence.testing.disclosure import check_disclosure
from whence.testing.examples import example_baskets, example_ratings, example_sessions
from whence.testing.explainer import check_explainer
from whence.testing.parameters import check_configurable
from whence.testing.recommender import check_recommender

__all__ = [
    "check_attributor",
    "check_configurable",
    "check_disclosure",
    "check_explainer",
    "check_recommender",
    "example_baskets",
    "example_ratings",
    "example_sessions",
]
