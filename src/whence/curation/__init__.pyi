"""Acting on values: where each name is from."""

from .attacks import (
    Attack as Attack,
)
from .attacks import (
    Attacked as Attacked,
)
from .cleaning import (
    Cleaning as Cleaning,
)
from .cleaning import (
    clean as clean,
)
from .detection import (
    detection_curve as detection_curve,
)
from .detection import (
    detection_report as detection_report,
)
from .detection import (
    find_corrupted as find_corrupted,
)
from .disclosure import (
    Comparison as Comparison,
)
from .disclosure import (
    Disclosure as Disclosure,
)
from .disclosure import (
    DisclosurePlan as DisclosurePlan,
)
from .disclosure import (
    DisclosureProblem as DisclosureProblem,
)
from .disclosure import (
    plot_frontier as plot_frontier,
)
from .disclosure import (
    simulate_willingness as simulate_willingness,
)
from .disclosure import (
    willingness_by_category as willingness_by_category,
)
from .forgetting import (
    Audit as Audit,
)
from .forgetting import (
    Certificate as Certificate,
)
from .forgetting import (
    Forgotten as Forgotten,
)
from .forgetting import (
    forget as forget,
)
from .oddities import (
    find_bots as find_bots,
)
from .oddities import (
    find_duplicates as find_duplicates,
)
from .pruning import (
    best_fraction as best_fraction,
)
from .pruning import (
    prune as prune,
)
from .pruning import (
    prune_curve as prune_curve,
)
from .sustainability import (
    Sustainability as Sustainability,
)
from .sustainability import (
    sustainability as sustainability,
)

__all__ = [
    "Attack",
    "Attacked",
    "Audit",
    "Certificate",
    "Cleaning",
    "Comparison",
    "Disclosure",
    "DisclosurePlan",
    "DisclosureProblem",
    "Forgotten",
    "Sustainability",
    "best_fraction",
    "clean",
    "detection_curve",
    "detection_report",
    "find_bots",
    "find_corrupted",
    "find_duplicates",
    "forget",
    "plot_frontier",
    "prune",
    "prune_curve",
    "simulate_willingness",
    "sustainability",
    "willingness_by_category",
]
