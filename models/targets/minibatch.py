"""Models whose likelihood is given by `pymc.Minibatch`, with the whole data in place of each batch."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

from models.graphs import Deferred

pm = Deferred("pymc")
pytensor = Deferred("pytensor")

__all__ = ["with_whole_data"]

#: By model, what it held and the model with the whole data (``None`` where it is itself): so that it is compiled once.
_known: WeakKeyDictionary[Any, tuple[list[Any], Any]] = WeakKeyDictionary()


def with_whole_data(model: Any) -> Any:
    """Return the same model on its whole data where it is given minibatches, and otherwise the model itself.

    Objectives on nodes held still, Newton's method and samplers need one and the same log density at each step. A batch is an output of
    one node of the graph, whose inputs are the whole data: they take its place. PyMC weighs a likelihood by ``total_size`` over the
    number of rows, which is then 1.

    Parameters
    ----------
    model : pymc.Model

    Returns
    -------
    pymc.Model
    """
    held = [*model.basic_RVs, *model.potentials, *(v.get_value(borrow=True) for v in model.data_vars)]
    known = _known.get(model)
    if known is None or len(known[0]) != len(held) or any(a is not b for a, b in zip(known[0], held, strict=True)):
        batched = _batches([*model.basic_RVs, *model.rvs_to_values.values(), *model.potentials])
        _known[model] = known = held, _rebuilt(model) if batched else None
    return model if known[1] is None else known[1]


def _batches(outputs: list[Any]) -> list[Any]:
    """Nodes of a graph that draw batches."""
    from pymc.data import MinibatchOp

    owners = {v.owner for v in pytensor.graph.traversal.ancestors(outputs) if v.owner is not None}
    return [node for node in owners if isinstance(node.op, MinibatchOp)]


def _rebuilt(model: Any) -> Any:
    from pymc.model.fgraph import fgraph_from_model, model_from_fgraph

    graph, _ = fgraph_from_model(model)
    whole = {
        batch: data
        for node in _batches(graph.outputs)
        for batch, data in zip(node.outputs, node.inputs[:-1], strict=False)
    }
    outputs = pytensor.graph.replace.clone_replace(graph.outputs, whole, rebuild_strict=False)
    rebuilt = pytensor.graph.fg.FunctionGraph(outputs=outputs, clone=False)
    rebuilt._coords, rebuilt._dim_lengths = graph._coords, graph._dim_lengths  # where PyMC looks for them
    return model_from_fgraph(rebuilt, mutate_fgraph=True)
