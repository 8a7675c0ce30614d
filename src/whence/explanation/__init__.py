"""Explanations of recommendations by the events of the history that they follow."""

from whence.explanation.counterfactuals import Counterfactual
from whence.explanation.explainer import Explainer
from whence.explanation.frames import average_event, average_sequence, histories_from
from whence.explanation.grouping import by_group
from whence.explanation.many import Explanations
from whence.explanation.prunings import PruningStatistics, pruning_statistics
from whence.explanation.reasons import because
from whence.explanation.reports import GlobalReport, LocalReport, global_report, local_report
from whence.explanation.result import Explanation
from whence.explanation.shards import explain_files
from whence.explanation.shortcuts import explain, explain_many
from whence.explanation.standing_in import StandIns, stand_in_scores, stand_ins
from whence.explanation.why_not import WhyNot

__all__ = [
    "Counterfactual",
    "Explainer",
    "Explanation",
    "Explanations",
    "GlobalReport",
    "LocalReport",
    "PruningStatistics",
    "StandIns",
    "WhyNot",
    "average_event",
    "average_sequence",
    "because",
    "by_group",
    "explain",
    "explain_files",
    "explain_many",
    "global_report",
    "histories_from",
    "local_report",
    "pruning_statistics",
    "stand_in_scores",
    "stand_ins",
]
