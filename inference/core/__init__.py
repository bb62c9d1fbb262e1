"""Inverse reasoning on any causal language model of the Transformers library. Knows no Django.

    from pathlib import Path
    from inference.core import (
        Head, LanguageModel, Problem, ReasonSettings, explain_inverse, head_config, reason, resolve
    )

    model = LanguageModel.load(resolve("smollm2-135m-instruct", Path("var"), print))
    trace = reason(model, Problem("What is 3 + 4?", ("6", "7", "8")), ReasonSettings())
    print(explain_inverse(model, trace, Head(head_config(model))).text)

Torch is loaded when one of the names that need it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from inference.core.recipe import Recipe
from inference.core.records import (
    Alternative,
    Answer,
    Candidate,
    Claim,
    Confidences,
    Draft,
    EvidenceRecord,
    Problem,
    Progress,
    ReasoningError,
    ReasonSettings,
    Source,
    Step,
    StepEstimate,
    StepEvidence,
    StepSignals,
    StepTest,
    Token,
    Trace,
)

if TYPE_CHECKING:
    from inference.core.api import ApiRun, explain_api
    from inference.core.attention_report import explain_attention
    from inference.core.batch import Batch, Tally, explain_file, explained
    from inference.core.cache import PrefixCache
    from inference.core.causal import test_steps
    from inference.core.claims import check_claims, supported
    from inference.core.contrastive import contrastive_flow
    from inference.core.conversation import ApiBudgetError, ApiError, Conversation
    from inference.core.decode import Sampling
    from inference.core.endpoint import Endpoint
    from inference.core.exchange import Exchange
    from inference.core.explain import candidates
    from inference.core.features import explanation_features, head_config
    from inference.core.flow import mixed_flow
    from inference.core.gradient import gradient_times_input
    from inference.core.head import Head, HeadConfig, HeadMismatchError
    from inference.core.head_files import HeadSaveError
    from inference.core.inverse import InverseExplanation, InverseSettings, explain_inverse
    from inference.core.inversion import Inversion, Segments, invert, position_only_flow
    from inference.core.kept import Kept, KeptError, KeptFile
    from inference.core.language_model import LanguageModel
    from inference.core.limits import AttentionError, ContextError, DeviceMemoryError, LimitError, NumbersError
    from inference.core.mixing import HeadFlow
    from inference.core.out_file import OutFileError
    from inference.core.problem_files import ParsedProblem, ProblemFileError
    from inference.core.reasoning import reason
    from inference.core.receivers import forks, received, receiver_heads, receiver_scores, step_attention
    from inference.core.rollouts import RolloutMemoryError, Start, roll
    from inference.core.self_explanation import self_explain
    from inference.core.similarity import OwnStates, SentenceEncoder, Similarity, SimilarityError, Words
    from inference.core.suppression import direct_suppression, full_suppression
    from inference.core.trajectory import Trajectory, answer_trajectory
    from inference.core.weights import WeightsError, resolve

HOMES = {
    "ApiBudgetError": "conversation",
    "ApiError": "conversation",
    "ApiRun": "api",
    "AttentionError": "limits",
    "Batch": "batch",
    "ContextError": "limits",
    "Conversation": "conversation",
    "DeviceMemoryError": "limits",
    "Endpoint": "endpoint",
    "Exchange": "exchange",
    "Head": "head",
    "HeadConfig": "head",
    "HeadFlow": "mixing",
    "HeadMismatchError": "head",
    "HeadSaveError": "head_files",
    "InverseExplanation": "inverse",
    "InverseSettings": "inverse",
    "Inversion": "inversion",
    "Kept": "kept",
    "KeptError": "kept",
    "KeptFile": "kept",
    "LanguageModel": "language_model",
    "LimitError": "limits",
    "NumbersError": "limits",
    "OutFileError": "out_file",
    "OwnStates": "similarity",
    "ParsedProblem": "problem_files",
    "PrefixCache": "cache",
    "ProblemFileError": "problem_files",
    "RolloutMemoryError": "rollouts",
    "Sampling": "decode",
    "Segments": "inversion",
    "SentenceEncoder": "similarity",
    "Similarity": "similarity",
    "SimilarityError": "similarity",
    "Start": "rollouts",
    "Tally": "batch",
    "Trajectory": "trajectory",
    "WeightsError": "weights",
    "Words": "similarity",
    "answer_trajectory": "trajectory",
    "candidates": "explain",
    "check_claims": "claims",
    "contrastive_flow": "contrastive",
    "direct_suppression": "suppression",
    "explain_api": "api",
    "explain_attention": "attention_report",
    "explain_file": "batch",
    "explain_inverse": "inverse",
    "explained": "batch",
    "explanation_features": "features",
    "forks": "receivers",
    "full_suppression": "suppression",
    "gradient_times_input": "gradient",
    "head_config": "features",
    "invert": "inversion",
    "mixed_flow": "flow",
    "position_only_flow": "inversion",
    "reason": "reasoning",
    "received": "receivers",
    "receiver_heads": "receivers",
    "receiver_scores": "receivers",
    "resolve": "weights",
    "roll": "rollouts",
    "self_explain": "self_explanation",
    "step_attention": "receivers",
    "supported": "claims",
    "test_steps": "causal",
}
"""Which module each name comes from that is loaded only when used. No module is called like a public name:
importing it would put the module in the name's place."""


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"inference.core has no {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"inference.core.{HOMES[name]}"), name)


__all__ = [
    "Alternative",
    "Answer",
    "ApiBudgetError",
    "ApiError",
    "ApiRun",
    "AttentionError",
    "Batch",
    "Candidate",
    "Claim",
    "Confidences",
    "ContextError",
    "Conversation",
    "DeviceMemoryError",
    "Draft",
    "Endpoint",
    "EvidenceRecord",
    "Exchange",
    "Head",
    "HeadConfig",
    "HeadFlow",
    "HeadMismatchError",
    "HeadSaveError",
    "InverseExplanation",
    "InverseSettings",
    "Inversion",
    "Kept",
    "KeptError",
    "KeptFile",
    "LanguageModel",
    "LimitError",
    "NumbersError",
    "OutFileError",
    "OwnStates",
    "ParsedProblem",
    "PrefixCache",
    "Problem",
    "ProblemFileError",
    "Progress",
    "ReasonSettings",
    "ReasoningError",
    "Recipe",
    "RolloutMemoryError",
    "Sampling",
    "Segments",
    "SentenceEncoder",
    "Similarity",
    "SimilarityError",
    "Source",
    "Start",
    "Step",
    "StepEstimate",
    "StepEvidence",
    "StepSignals",
    "StepTest",
    "Tally",
    "Token",
    "Trace",
    "Trajectory",
    "WeightsError",
    "Words",
    "answer_trajectory",
    "candidates",
    "check_claims",
    "contrastive_flow",
    "direct_suppression",
    "explain_api",
    "explain_attention",
    "explain_file",
    "explain_inverse",
    "explained",
    "explanation_features",
    "forks",
    "full_suppression",
    "gradient_times_input",
    "head_config",
    "invert",
    "mixed_flow",
    "position_only_flow",
    "reason",
    "received",
    "receiver_heads",
    "receiver_scores",
    "resolve",
    "roll",
    "self_explain",
    "step_attention",
    "supported",
    "test_steps",
]
