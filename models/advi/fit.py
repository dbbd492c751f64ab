"""ADVI: reverse KL minimised by stochastic gradients on a PyMC model, from many explicit starts at once.

Gradient estimator, parametrisation and optimisers are those of PyMC's ADVI and full-rank ADVI (a test compares every
digit of a run). What is added: all starts run side by side in compiled loops, each with its own noise, so that a start
gives the same numbers alone or in company; rounds in which the learning rate falls along half a cosine, until a run has
arrived; and every run is judged by its own evidence. PyMC's defaults (``adagrad_window``, one draw a step) are kept as
``PYMC_DEFAULT`` for comparison: at the optimum of ½N(-3,1) + ½N(3,1) they inflate the standard deviation by 9 to 14 %
after 60 000 steps (pymc issue 8444).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import xarray as xr

from models.advi.given import as_target, batched
from models.advi.members import METHODS
from models.advi.propriety import flat_directions, refuse_improper
from models.advi.rounds import refuse_divergence, run_all
from models.advi.runs import Method
from models.advi.starts import Schedule, Start, default_starts, dispersed_starts, seeded
from models.advi.tree import results_tree
from models.errors import InputError, lookup_error
from models.graphs import single_threaded
from models.targets import Posterior, Target

__all__ = ["fit_advi"]


@single_threaded
def fit_advi(
    target_or_model: Target | Any,
    *,
    method: Method = "advi",
    starts: int | Sequence[Start] | None = None,
    seed: int = 0,
    schedule: Schedule | None = None,
    draws: int = 2000,
    progressbar: bool = False,
    on_step: Callable[[int], None] | None = None,
) -> xr.DataTree:
    """Fit by PyMC's ADVI from several starts and say which distinct optima were reached.

    Parameters
    ----------
    target_or_model : Target or pymc.Model
        With a density; a PyMC model stands for its posterior. Of one with ``pm.Minibatch`` the whole data are taken: a warning and
        ``attrs["batched"]`` say so.
    method : {"advi", "fullrank_advi"}
    starts : int or sequence of Start, optional
        A number gives `dispersed_starts`; the default is `default_starts`.
    seed : int
        Restart i uses the i-th child of this seed, so adding starts changes no earlier run.
    schedule : Schedule, optional
    draws : int
        Draws of each distinct optimum to keep.
    progressbar : bool
        Show PyMC's progress bar, over the steps of all rounds that may be needed.
    on_step : callable, optional
        Called with the number of steps finished since the last call.

    Returns
    -------
    xarray.DataTree
        ``restarts``, over ``restart``: where each run began and ended (``start_mean``, ``start_sd``, ``mean``, ``sd``,
        ``cov``, in unconstrained space), its ``seed``, ``loss`` (-ELBO, nats) with ``loss_se``, the evidence (``gap``,
        ``gap_noise``, ``shift``, ``curvature``, see `models.advi.convergence`; ``drift`` and ``loss_decrease`` with ``loss_decrease_se``
        over the last tenth of its last round), ``iterations``, ``rounds``, ``converged``, ``verdict``, ``optimum`` (the index of the
        child it belongs to) and the ``history`` of the loss over (restart, iteration), nan once it had stopped.
        Children ``optimum_0``, ... (lowest loss first): ``posterior`` (draws on the natural scale: ``x``, or the variables of the
        PyMC model), ``unconstrained_posterior`` (the same draws as ``x`` in unconstrained space, where that differs),
        ``sample_stats`` with ``log_p`` and ``log_q``, ``fit`` and ``vi_trace``. See `optima` for a table of them.

    Raises
    ------
    InputError
        If the target has no density, a start has the wrong length, there are none, or the seed is negative.
    FloatingPointError
        If the loss or its gradient is finite at no start; the first, the step and the variable are named. Where some fail they are
        left out of ``restarts``, and ``attrs["starts_failed"]`` counts them.
    ConvergenceError
        If every run diverges: the ELBO has no maximum.
    ImproperError
        If the posterior of a model is improper along a direction that runs took, or in which it is flat where they ended.

    Notes
    -----
    Kucukelbir et al. (2017), algorithm 1, with Adam; rounds in the spirit of Welandawe et al. (2024), who let the evidence of a
    run decide when to lower its learning rate and when to stop. A run has converged if, at the end of a round, its loss no
    longer falls and what is left to gain is below ``schedule.nats`` and ``schedule.relative``: along its natural gradient and,
    for up to 65 variational parameters, by a Newton step whose Hessian must be positive. With more parameters a run at a
    saddle, or in a valley that its gradient crosses, may pass.

    Examples
    --------
    >>> from models.targets import normal_mixture
    >>> fit = fit_advi(normal_mixture([1], [1], [2]), draws=2)
    >>> bool(fit["restarts"]["converged"].all()), round(float(fit["optimum_0/fit"]["sigma"]), 1)
    (True, 2.0)
    """
    target = as_target(target_or_model, "ADVI")
    schedule = schedule or Schedule()
    if method not in METHODS:
        raise lookup_error("method", method, METHODS)
    if seed < 0:
        raise InputError(f"seed is {seed}; it must be a non-negative integer")
    if isinstance(starts, int | np.integer):
        starts = dispersed_starts(target, int(starts), seed)
    starts = default_starts(target) if starts is None else list(starts)
    if not starts:
        raise InputError("there are no starts; give at least one")
    for start in starts:
        if len(start.mean) != target.dim:
            raise InputError(f"start {start.label!r} has {len(start.mean)} coordinates; the target has {target.dim}")
    starts = seeded(starts, seed)
    with _watched(on_step, schedule, progressbar) as watch:
        everyone = run_all(target, method, starts, schedule, watch)
    kept = [(start, run) for start, run in zip(starts, everyone, strict=True) if not run.failed]
    starts, runs = [start for start, _ in kept], [run for _, run in kept]
    if isinstance(target, Posterior):
        ended = [run for run in runs if np.isfinite(run.mean).all()]
        moves = [run.mean - start.mean for run, start in zip(runs, starts, strict=True)]
        if ended:
            run = ended[0]
            flat = flat_directions(target.log_density, run.mean, run.sd)
            refuse_improper(target, run.mean, run.sd, [*flat, *moves])
    refuse_divergence(target, runs)
    fit = results_tree(target, method, starts, runs, seed, schedule, draws)
    fit.attrs |= {"starts_tried": len(everyone), "starts_failed": len(everyone) - len(runs), "batched": batched(target)}
    return fit


@contextmanager
def _watched(
    on_step: Callable[[int], None] | None, schedule: Schedule, progressbar: bool
) -> Iterator[Callable[[int], None]]:
    """What is told of every step: the caller, and PyMC's progress bar."""
    told = on_step or (lambda _steps: None)
    if not progressbar:
        yield told
        return
    from pymc.progress_bar import create_simple_progress

    with create_simple_progress(progressbar=True) as progress:
        task = progress.add_task("ADVI", total=schedule.steps * schedule.rounds)

        def both(steps: int) -> None:
            progress.update(task, advance=steps)
            told(steps)

        yield both
