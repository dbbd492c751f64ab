"""Expectations as nodes and weights: an adaptive rule on the line, tensor and quasi-Monte Carlo rules, and draws."""

from __future__ import annotations

from models.quadrature.expectations import (
    Estimate,
    Nodes,
    expect,
    gauss_legendre,
    gaussian_nodes,
    line_edges,
    moment_nodes,
    nodes,
    sobol_nodes,
)
from models.quadrature.piecewise import CORE, kinked, landmarks, panels

__all__ = [
    "CORE",
    "Estimate",
    "Nodes",
    "expect",
    "gauss_legendre",
    "gaussian_nodes",
    "kinked",
    "landmarks",
    "line_edges",
    "moment_nodes",
    "nodes",
    "panels",
    "sobol_nodes",
]
