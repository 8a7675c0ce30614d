from .corruption import (
    CorruptionExperiment as CorruptionExperiment,
)
from .corruption_results import (
    CorruptionResult as CorruptionResult,
)
from .disclosure import (
    DisclosureExperiment as DisclosureExperiment,
)
from .disclosure import (
    DisclosureResult as DisclosureResult,
)
from .explanation_fidelity import (
    ExplanationFidelityExperiment as ExplanationFidelityExperiment,
)
from .explanation_results import (
    ExplanationFidelityResult as ExplanationFidelityResult,
)
from .fidelity import (
    FidelityExperiment as FidelityExperiment,
)
from .fidelity import (
    FidelityResult as FidelityResult,
)
from .forgetting import (
    ForgettingExperiment as ForgettingExperiment,
)
from .forgetting import (
    ForgettingResult as ForgettingResult,
)
from .opponents import (
    OpponentsExperiment as OpponentsExperiment,
)
from .pruning import (
    PruneExperiment as PruneExperiment,
)
from .pruning_results import (
    PruneResult as PruneResult,
)
from .removal import (
    RemovalExperiment as RemovalExperiment,
)
from .removal_results import (
    RemovalResult as RemovalResult,
)
from .results import (
    OpponentsResult as OpponentsResult,
)
from .scaling import (
    ScalingExperiment as ScalingExperiment,
)
from .scaling import (
    ScalingResult as ScalingResult,
)
