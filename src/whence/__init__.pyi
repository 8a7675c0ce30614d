"""The public face: where each name is from."""

from .attribution import (
    Attribution as Attribution,
)
from .attribution import (
    Attributor as Attributor,
)
from .curation import (
    Disclosure as Disclosure,
)
from .curation import (
    DisclosurePlan as DisclosurePlan,
)
from .curation import (
    DisclosureProblem as DisclosureProblem,
)
from .curation import (
    Forgotten as Forgotten,
)
from .curation import (
    clean as clean,
)
from .curation import (
    detection_report as detection_report,
)
from .curation import (
    find_bots as find_bots,
)
from .curation import (
    find_corrupted as find_corrupted,
)
from .curation import (
    find_duplicates as find_duplicates,
)
from .curation import (
    forget as forget,
)
from .curation import (
    prune as prune,
)
from .curation import (
    simulate_willingness as simulate_willingness,
)
from .curation import (
    sustainability as sustainability,
)
from .curation import (
    willingness_by_category as willingness_by_category,
)
from .data import (
    Dropped as Dropped,
)
from .data import (
    Interactions as Interactions,
)
from .data import (
    filter_core as filter_core,
)
from .data import (
    filter_duplicates as filter_duplicates,
)
from .data import (
    filter_length as filter_length,
)
from .data import (
    filter_ratings as filter_ratings,
)
from .data import (
    generate as generate,
)
from .data import (
    generate_file as generate_file,
)
from .data import (
    k_fold as k_fold,
)
from .data import (
    load as load,
)
from .data import (
    make_baskets as make_baskets,
)
from .data import (
    make_sessions as make_sessions,
)
from .data import (
    profile_of as profile_of,
)
from .data import (
    read_interactions as read_interactions,
)
from .data import (
    read_splits as read_splits,
)
from .data import (
    register_format as register_format,
)
from .data import (
    split_last as split_last,
)
from .data import (
    split_leave_one_out as split_leave_one_out,
)
from .data import (
    split_random as split_random,
)
from .data import (
    split_rows as split_rows,
)
from .data import (
    split_temporal as split_temporal,
)
from .data import (
    split_time as split_time,
)
from .data import (
    write_interactions as write_interactions,
)
from .engines import (
    Run as Run,
)
from .errors import (
    WhenceError as WhenceError,
)
from .evaluation import (
    Evaluation as Evaluation,
)
from .evaluation import (
    Metric as Metric,
)
from .evaluation import (
    Queries as Queries,
)
from .evaluation import (
    compare as compare,
)
from .evaluation import (
    evaluate as evaluate,
)
from .evaluation import (
    make_queries as make_queries,
)
from .evaluation import (
    register_metric as register_metric,
)
from .experiments import (
    CorruptionExperiment as CorruptionExperiment,
)
from .experiments import (
    DisclosureExperiment as DisclosureExperiment,
)
from .experiments import (
    ExplanationFidelityExperiment as ExplanationFidelityExperiment,
)
from .experiments import (
    FidelityExperiment as FidelityExperiment,
)
from .experiments import (
    OpponentsExperiment as OpponentsExperiment,
)
from .experiments import (
    PruneExperiment as PruneExperiment,
)
from .experiments import (
    RemovalExperiment as RemovalExperiment,
)
from .experiments import (
    ScalingExperiment as ScalingExperiment,
)
from .explanation import (
    Counterfactual as Counterfactual,
)
from .explanation import (
    Explainer as Explainer,
)
from .explanation import (
    Explanation as Explanation,
)
from .explanation import (
    Explanations as Explanations,
)
from .explanation import (
    WhyNot as WhyNot,
)
from .explanation import (
    because as because,
)
from .explanation import (
    explain as explain,
)
from .explanation import (
    explain_files as explain_files,
)
from .explanation import (
    explain_many as explain_many,
)
from .illoominate import (
    data_loo_polars as data_loo_polars,
)
from .illoominate import (
    data_loo_values as data_loo_values,
)
from .illoominate import (
    data_shapley_polars as data_shapley_polars,
)
from .illoominate import (
    data_shapley_values as data_shapley_values,
)
from .illoominate import (
    train_and_evaluate_for_sbr as train_and_evaluate_for_sbr,
)
from .illoominate import (
    train_and_evaluate_for_sbr_files as train_and_evaluate_for_sbr_files,
)
from .illoominate import (
    train_and_evaluate_polars as train_and_evaluate_polars,
)
from .influence import (
    TRAK as TRAK,
)
from .influence import (
    Influence as Influence,
)
from .influence import (
    InfluenceFunction as InfluenceFunction,
)
from .influence import (
    InformationGain as InformationGain,
)
from .influence import (
    OrderGain as OrderGain,
)
from .influence import (
    Prediction as Prediction,
)
from .influence import (
    Replay as Replay,
)
from .influence import (
    TracIn as TracIn,
)
from .influence import (
    TracInRandomProjection as TracInRandomProjection,
)
from .influence import (
    TrainingLoss as TrainingLoss,
)
from .influence import (
    TrimmedLoss as TrimmedLoss,
)
from .influence import (
    register_layer as register_layer,
)
from .influence import (
    smooth as smooth,
)
from .influence import (
    to_optimum as to_optimum,
)
from .models import (
    ALS as ALS,
)
from .models import (
    BPRMF as BPRMF,
)
from .models import (
    EASE as EASE,
)
from .models import (
    RBM as RBM,
)
from .models import (
    TIFUKNN as TIFUKNN,
)
from .models import (
    VMISKNN as VMISKNN,
)
from .models import (
    BiasedMF as BiasedMF,
)
from .models import (
    Checkpoint as Checkpoint,
)
from .models import (
    CornacModel as CornacModel,
)
from .models import (
    GRU4Rec as GRU4Rec,
)
from .models import (
    ImplicitModel as ImplicitModel,
)
from .models import (
    ItemKNN as ItemKNN,
)
from .models import (
    LSTMRec as LSTMRec,
)
from .models import (
    MarkovChain as MarkovChain,
)
from .models import (
    NeuMF as NeuMF,
)
from .models import (
    Popularity as Popularity,
)
from .models import (
    RecBoleModel as RecBoleModel,
)
from .models import (
    Recommender as Recommender,
)
from .models import (
    SASRec as SASRec,
)
from .models import (
    TorchModel as TorchModel,
)
from .models import (
    WideDeep as WideDeep,
)
from .models import (
    Wrapped as Wrapped,
)
from .models import (
    load_checkpoints as load_checkpoints,
)
from .models import (
    load_model as load_model,
)
from .reporting import (
    explore as explore,
)
from .reporting import (
    report as report,
)
from .valuation import (
    Banzhaf as Banzhaf,
)
from .valuation import (
    BetaShapley as BetaShapley,
)
from .valuation import (
    LeaveOneOut as LeaveOneOut,
)
from .valuation import (
    LengthValue as LengthValue,
)
from .valuation import (
    PopularityValue as PopularityValue,
)
from .valuation import (
    RandomValue as RandomValue,
)
from .valuation import (
    RetrainingLeaveOneOut as RetrainingLeaveOneOut,
)
from .valuation import (
    RetrainingShapley as RetrainingShapley,
)
from .valuation import (
    Shapley as Shapley,
)

__version__: str

__all__ = [
    "ALS",
    "BPRMF",
    "EASE",
    "RBM",
    "TIFUKNN",
    "TRAK",
    "VMISKNN",
    "Attribution",
    "Attributor",
    "Banzhaf",
    "BetaShapley",
    "BiasedMF",
    "Checkpoint",
    "CornacModel",
    "CorruptionExperiment",
    "Counterfactual",
    "Disclosure",
    "DisclosureExperiment",
    "DisclosurePlan",
    "DisclosureProblem",
    "Dropped",
    "Evaluation",
    "Explainer",
    "Explanation",
    "ExplanationFidelityExperiment",
    "Explanations",
    "FidelityExperiment",
    "Forgotten",
    "GRU4Rec",
    "ImplicitModel",
    "Influence",
    "InfluenceFunction",
    "InformationGain",
    "Interactions",
    "ItemKNN",
    "LSTMRec",
    "LeaveOneOut",
    "LengthValue",
    "MarkovChain",
    "Metric",
    "NeuMF",
    "OpponentsExperiment",
    "OrderGain",
    "Popularity",
    "PopularityValue",
    "PruneExperiment",
    "Queries",
    "RandomValue",
    "RecBoleModel",
    "Recommender",
    "RemovalExperiment",
    "RetrainingLeaveOneOut",
    "RetrainingShapley",
    "Run",
    "SASRec",
    "ScalingExperiment",
    "Shapley",
    "TorchModel",
    "TracIn",
    "TracInRandomProjection",
    "TrainingLoss",
    "TrimmedLoss",
    "WhenceError",
    "WhyNot",
    "WideDeep",
    "Wrapped",
    "__version__",
    "because",
    "clean",
    "compare",
    "data_loo_polars",
    "data_loo_values",
    "data_shapley_polars",
    "data_shapley_values",
    "detection_report",
    "evaluate",
    "explain",
    "explain_files",
    "explain_many",
    "explore",
    "filter_core",
    "filter_duplicates",
    "filter_length",
    "filter_ratings",
    "find_bots",
    "find_corrupted",
    "find_duplicates",
    "forget",
    "generate",
    "generate_file",
    "k_fold",
    "load",
    "load_checkpoints",
    "load_model",
    "make_baskets",
    "make_queries",
    "make_sessions",
    "profile_of",
    "prune",
    "read_interactions",
    "read_splits",
    "register_format",
    "register_layer",
    "register_metric",
    "report",
    "simulate_willingness",
    "split_last",
    "split_leave_one_out",
    "split_random",
    "split_rows",
    "split_temporal",
    "split_time",
    "sustainability",
    "to_optimum",
    "train_and_evaluate_for_sbr",
    "train_and_evaluate_for_sbr_files",
    "train_and_evaluate_polars",
    "willingness_by_category",
    "write_interactions",
]
