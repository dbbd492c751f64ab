"""KL of counts to the law that they are drawn from: what is not seen of a long tail is no sign that the law is wrong."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from models.unknown.counts import count_entropy, count_kl, count_terms

LAWS = {
    "negative binomial of size 0.05": stats.nbinom(0.05, 0.05 / 3.05),
    "negative binomial of size 0.02": stats.nbinom(0.02, 0.02 / 5.02),
    "negative binomial of size 0.1, mean 100": stats.nbinom(0.1, 0.1 / 100.1),
    "Zipf 2.1": stats.zipf(2.1),
    "Zipf 1.5": stats.zipf(1.5),
    "geometric": stats.geom(0.05),
    "Poisson": stats.poisson(3),
    "binomial": stats.binom(20, 0.3),
}


@pytest.mark.parametrize("n", [1500, 10_000])
@pytest.mark.parametrize("name", LAWS)
def test_the_true_law_is_seldom_said_to_be_wrong(name: str, n: int) -> None:
    law, told, excluded, runs = LAWS[name], 0, 0, 60
    for seed in range(runs):
        x = law.rvs(n, random_state=np.random.default_rng(seed)).astype(float)
        found = count_kl(x, law.logpmf(x), 0.95)
        told += found.reliable
        excluded += found.reliable and found.lower > 0
    assert told > 0.9 * runs
    assert excluded <= 6  # of a binomial with 60 trials and probability 0.05 this is the 97 % quantile


def test_the_value_and_the_entropy_are_right_where_the_values_not_seen_matter() -> None:
    law = LAWS["Zipf 2.1"]
    k = np.arange(1, 10**6)
    true = float(-law.pmf(k) @ law.logpmf(k))
    samples = [law.rvs(1500, random_state=np.random.default_rng(s)).astype(float) for s in range(60)]
    entropies = [count_entropy(x, 0.95) for x in samples]
    assert sum(h.lower < true < h.upper for h in entropies) >= 53
    # Beside the mean log probability of the same draws, of which plain frequencies have 0.03 nats too little.
    left = [h.value + law.logpmf(x).mean() for h, x in zip(entropies, samples, strict=True)]
    assert abs(np.mean(left)) < 0.004


def test_a_wrong_law_is_still_told() -> None:
    x = LAWS["negative binomial of size 0.05"].rvs(1500, random_state=np.random.default_rng(0)).astype(float)
    found = count_kl(x, stats.nbinom(0.1, 0.1 / 3.1).logpmf(x), 0.95)
    assert found.reliable
    assert found.lower > 0


def test_most_values_seen_once_tell_no_entropy() -> None:
    found = count_entropy(np.arange(100.0), 0.95)
    assert not found.reliable
    assert np.isfinite([found.value, found.error]).all()


def test_one_value_has_no_entropy() -> None:
    assert abs(count_terms(np.zeros(50)).values.mean()) < 1e-12
