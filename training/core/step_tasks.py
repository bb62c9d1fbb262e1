"""The two losses by which the head learns of steps, in the form in which many columns are fitted at once.

A column is a choice of steps; all of a trace are in it or none. Slopes are derivatives of the loss by the outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy

from training.core.solver import Slopes


class Task(Protocol):
    """The loss of outputs for n steps."""

    def where(self, rows: Tensor) -> Task:
        """The same for some of the steps only."""

    def loss(self, outputs: Tensor) -> Tensor:
        """Mean loss of outputs [n]."""

    def slopes(self, columns: Tensor) -> Slopes:
        """columns [n, K] bool -> what turns outputs [n, K] into slopes [n, K], to be averaged over each column."""

    def bend(self, columns: Tensor) -> float:
        """The most that a slope can change with the outputs."""

    def constant(self, rows: Tensor) -> float:
        """The output that fits those steps best if it is to be the same for all; 0 without any."""


@dataclass(frozen=True)
class DecisionTask:
    """Binary cross-entropy of logits with labels [n], 0 or 1."""

    labels: Tensor

    def where(self, rows: Tensor) -> DecisionTask:
        return DecisionTask(self.labels[rows])

    def loss(self, outputs: Tensor) -> Tensor:
        return cross_entropy(outputs, self.labels)

    def slopes(self, columns: Tensor) -> Slopes:
        return lambda outputs: outputs.sigmoid() - self.labels[:, None]

    def bend(self, columns: Tensor) -> float:
        return 0.25

    def constant(self, rows: Tensor) -> float:
        return rate_logit(self.labels[rows])


@dataclass(frozen=True)
class EffectTask:
    """Half the squared error of outputs, weighed, plus KL(softmax wanted ‖ softmax outputs), mean over the traces
    with two steps or more. wanted [n] in units of τ, traces [n] numbers, weights [n] not negative, of any mean."""

    wanted: Tensor
    traces: Tensor
    weights: Tensor

    def where(self, rows: Tensor) -> EffectTask:
        return EffectTask(self.wanted[rows], self.traces[rows], self.weights[rows])

    @cached_property
    def listed(self) -> Tensor:
        """[n] bool: which steps are compared with another one of their trace."""
        _, own, counts = torch.unique(self.traces, return_inverse=True, return_counts=True)
        listed: Tensor = counts[own] > 1
        return listed

    @cached_property
    def groups(self) -> Tensor:
        """The traces of the steps that are listed, numbered 0, 1, 2, …"""
        groups: Tensor = torch.unique(self.traces[self.listed], return_inverse=True)[1]
        return groups

    def loss(self, outputs: Tensor) -> Tensor:
        squared = (self.weights * (outputs - self.wanted).square()).sum() / self.weights.sum().clamp(min=1e-9) / 2
        if not self.listed.any():
            return squared
        target, found = (log_softmax(x[self.listed], self.groups) for x in (self.wanted, outputs))
        return squared + (target.exp() * (target - found)).sum() / (int(self.groups.max()) + 1)

    def slopes(self, columns: Tensor) -> Slopes:
        per_trace, relative = self.steps_per_trace(columns), self.relative(columns)
        target = log_softmax(self.wanted[self.listed], self.groups).exp()[:, None]

        def slopes(outputs: Tensor) -> Tensor:
            found = relative * (outputs - self.wanted[:, None])
            shares = log_softmax(outputs[self.listed], self.groups).exp()
            found[self.listed] += per_trace * (shares - target)
            return found

        return slopes

    def bend(self, columns: Tensor) -> float:
        return float(self.relative(columns).max()) + 0.5 * float(self.steps_per_trace(columns).max())

    def relative(self, columns: Tensor) -> Tensor:
        """Weights [n, K] of which each column's own have mean 1: what turns a plain mean into a weighed one."""
        own = columns * self.weights[:, None]
        return own * columns.sum(0) / own.sum(0).clamp(min=1e-9)

    def steps_per_trace(self, columns: Tensor) -> Tensor:
        """Steps of each column for one of its listed traces, [K]: what turns a mean over steps into one of traces."""
        sizes = torch.bincount(self.groups)[self.groups][:, None]
        traces = (columns[self.listed] / sizes).sum(0)
        return columns.sum(0) / traces.clamp(min=1)

    def constant(self, rows: Tensor) -> float:
        weights = self.weights[rows]
        return float(weights @ self.wanted[rows] / weights.sum().clamp(min=1e-9))


def log_softmax(values: Tensor, groups: Tensor) -> Tensor:
    """Log-probabilities [n] or [n, K] within each of the groups [n] that are numbered 0, 1, 2, …"""
    if not len(groups):
        return values
    top = values.max()
    sums = torch.zeros(int(groups.max()) + 1, *values.shape[1:]).index_add(0, groups, (values - top).exp())
    return values - top - sums.clamp(min=1e-30).log()[groups]


def rate_logit(labels: Tensor) -> float:
    """Logit of the share of 1 among labels [n], with half a label of each kind added; 0 without any."""
    return float(torch.logit((labels.sum() + 0.5) / (len(labels) + 1)))
