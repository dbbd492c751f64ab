"""Expectations as nodes and weights: an adaptive rule on the line, tensor and quasi-Monte Carlo rules, and draws."""

from __future__ import annotations

from models.quadrature.expectations import expect, integrate, mass_defect, nodes
from models.quadrature.line import Line, line_edges, line_of
from models.quadrature.piecewise import CORE, kinked, landmarks, panels
from models.quadrature.rules import Estimate, Nodes, gauss_legendre, gaussian_nodes, moment_nodes, sobol_nodes
from models.quadrature.sums import missed, sum_over

__all__ = [
    "CORE",
    "Estimate",
    "Line",
    "Nodes",
    "expect",
    "gauss_legendre",
    "gaussian_nodes",
    "integrate",
    "kinked",
    "landmarks",
    "line_edges",
    "line_of",
    "mass_defect",
    "missed",
    "moment_nodes",
    "nodes",
    "panels",
    "sobol_nodes",
    "sum_over",
]
