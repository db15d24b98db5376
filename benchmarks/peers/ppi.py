"""What `ppi-python` says of the counts in tests/test_prediction_powered.py. It wants numba, statsmodels and gdown, so it runs in an environment of its own:

    uv venv /tmp/ppi && uv pip install --python /tmp/ppi/bin/python ppi-python==0.2.3 && /tmp/ppi/bin/python benchmarks/peers/ppi.py
"""
import numpy as np
from ppi_py import ppi_mean_ci, ppi_mean_pointestimate
from ppi_py.ppi import _calc_lam_glm

# written as (unanswerable, answerable), reply (abstained, answered): questions, and labelled no, yes, unclear
COUNTS = np.array([[[640, 95, 5, 0], [360, 20, 34, 0]], [[190, 12, 18, 0], [810, 13, 103, 0]]])


def cells(truth, reply):
    "Indicators of TA, FA, TU, FU."
    return np.stack([truth * reply, (1 - truth) * reply, (1 - truth) * (1 - reply), truth * (1 - reply)], axis=1).astype(float)


rows = [(z, r, t) for z in (0, 1) for r in (0, 1)
        for t, many in ((0, COUNTS[z, r, 1]), (1, COUNTS[z, r, 2]), (-1, COUNTS[z, r, 0] - COUNTS[z, r, 1:].sum())) for _ in range(many)]
z, r, t = np.array(rows).T
seen, total = t >= 0, len(z)
truth, said, all_, rest = cells(t[seen], r[seen]), cells(z[seen], r[seen]), cells(z, r), cells(z[~seen], r[~seen])
for power in (0, .5, 1): print("cells, lambda", power, (total * ppi_mean_pointestimate(truth, said, all_, lam=power)).round(6).tolist())
ta, fa, tu, fu = total * ppi_mean_pointestimate(truth, said, all_, lam=1)
p, q = ta + fu, fa + tu
slope = np.array([fu / p**2, -tu / q**2, fa / q**2, -ta / p**2])
power = _calc_lam_glm((truth @ slope)[:, None], (said @ slope)[:, None], (rest @ slope)[:, None], np.eye(1), clip=True)
print("lambda", power, "over the others; over all questions", power * total / len(rest))
for name, given in (("classical", 0.), ("ppi", len(rest) / total), ("ppi++", power)):
    low, high = (float(np.ravel(x)[0]) for x in ppi_mean_ci(total * truth @ slope, total * said @ slope, total * rest @ slope, alpha=.05, lam=given))
    print(name, "width of J, linearised:", round(high - low, 5))
