#!/usr/bin/python3
"""Writes encode.txt: encoded columns, computed with numpy, for data that
test/unit/test_encode.c computes for itself.

    python3 encode.py > encode.txt

A line: class|data|encoder|numbers of all probe rows, row by row, each row as
sections come: numbers, then flags (was-NULL first, then cycles)."""
import datetime
import math

import numpy as np

from formula import phase

ROWS, LENGTH = 500, 3
INF = math.inf


def number(kind, i):
    if kind == "plain":
        return 10 * phase(1, i) + 3
    if kind == "offset":
        return 1e9 + phase(1, i)
    if kind == "nulls":
        return math.nan if i % 7 == 3 else math.exp(3 * phase(2, i))
    if kind == "infinite":
        return INF if i % 9 == 4 else phase(3, i)
    if kind == "sparse":
        return 2 * phase(4, i) + 5 if i % 10 == 1 else 0.0
    if kind == "huge":
        return 1.5e308 * phase(5, i)
    raise KeyError(kind)


def used(i):
    return i % 5 != 0


# rows that are encoded: the first ones, and what is nowhere in the table
PROBES = list(range(12)) + ["nan", "inf", "-inf", "1e300"]


def probe(kind, p):
    return float(p) if isinstance(p, str) else number(kind, p)


def scaling(x, scale):
    """Center and factor; halves where a difference could overflow."""
    if scale == "standard":
        with np.errstate(over="ignore", invalid="ignore"):
            center, factor = np.mean(x), 1 / np.std(x)
        if not np.isfinite(center) or not factor > 0:
            center = x.min() / 2 + x.max() / 2
            factor = 1 / (x.max() / 2 - x.min() / 2)
        return center, factor
    if scale == "robust":
        q25, q50, q75 = np.quantile(x, [0.25, 0.5, 0.75])
        spread = q75 - q25
        return q50, 1 / spread if spread > 0 else 2 / (x.max() - x.min())
    if scale == "min_max":
        return x.min(), 1 / (x.max() - x.min())
    return 0.0, 1.0


def finish(z, clip):
    z = min(max(z, -1e18), 1e18)
    return z / math.sqrt(1 + (z / clip) ** 2) if clip else z


def encode_number(kind, scale, clip, impute, indicator):
    train = np.array([number(kind, i) for i in range(ROWS) if used(i)])
    x = train[np.isfinite(train)]
    center, factor = scaling(x, scale)
    fill = {"mean": np.mean(x) if kind != "huge" else 0,
            "median": np.median(x), "zero": 0.0}[impute]
    out = []
    for p in PROBES:
        v = probe(kind, p)
        shown = fill if math.isnan(v) else min(max(v, x.min()), x.max()) \
            if math.isinf(v) else v
        out.append(finish((shown - center) * factor, clip))
        if indicator and np.isnan(train).any():
            out.append(1.0 if math.isnan(v) else 0.0)
    return out


def numbers():
    for kind in ["plain", "offset", "nulls", "infinite", "sparse", "huge"]:
        for scale in ["standard", "robust", "min_max", "none"]:
            if kind == "huge" and scale != "standard":
                continue
            for clip in [0, 3]:
                for impute in ["mean", "median", "zero"]:
                    for indicator in [True, False]:
                        if kind != "nulls" and (impute, indicator) != (
                                "mean", True):
                            continue
                        text = "number(scale = %s, clip = %d, impute = %s, " \
                            "indicator = %s)" % (scale, clip, impute,
                                                 str(indicator).lower())
                        yield "number", kind, text, encode_number(
                            kind, scale, clip, impute, indicator)


def flag(kind, i):
    """1, 0 or NULL."""
    v = phase(6, i)
    if kind == "rare":
        return 1.0 if v > 0.9 else 0.0
    if kind == "holes" and i % 6 == 2:
        return math.nan
    return 1.0 if v > 0 else 0.0


def booleans():
    for kind in ["even", "rare", "holes"]:
        signs = [flag(kind, i) for i in range(ROWS)]
        signs = [0.0 if math.isnan(v) else 2 * v - 1 for v in signs]
        x = np.array([v for i, v in enumerate(signs) if used(i)])
        for scale in ["none", "robust"]:
            center, factor = scaling(x, scale)
            for clip in [0, 3]:
                yield ("boolean", kind, "boolean(scale = %s, clip = %d)" %
                       (scale, clip),
                       [finish((v - center) * factor, clip)
                        for v in signs[:12]])


EPOCH = datetime.datetime(2000, 1, 1)


def moment(kind, i):
    """Seconds since 2000."""
    v = 3e8 + 4e8 * phase(7, i)
    if kind == "date":
        return 86400.0 * math.floor(v / 86400)
    if kind == "time":
        return 43200 + 43000 * phase(7, i)
    return 3600.0 * math.floor(v / 3600)


def cycles(kind, t):
    at = EPOCH + datetime.timedelta(seconds=t)
    day = at.hour / 24 + at.minute / 1440 + at.second / 86400 + \
        at.microsecond / 86400e6
    # 2000-01-01 was a Saturday
    week = ((at.weekday() + 2) % 7) / 7
    year = ((at - EPOCH).days / 365.25) % 1
    phases = {"date": [week, year], "time": [day],
              "timestamp": [day, week, year]}[kind]
    for p in phases:
        for v in [math.sin(2 * math.pi * p), math.cos(2 * math.pi * p)]:
            yield v


def times():
    for kind in ["timestamp", "date", "time"]:
        x = np.array([moment(kind, i) for i in range(ROWS) if used(i)])
        for scale, cyclic in [("standard", "true"), ("robust", "false")]:
            center, factor = scaling(x, scale)
            out = []
            for i in range(12):
                t = moment(kind, i)
                out.append((t - center) * factor)
                if cyclic == "true":
                    out.extend(cycles(kind, t))
            yield kind, kind, "%s(scale = %s, cycles = %s)" % (
                kind, scale, cyclic), out


def element(i, j):
    """The last one never varies."""
    return float(np.float32(7.5 if j == LENGTH - 1 else
                            100 * j + (j + 1) * phase(8 + j, i)))


def vectors():
    x = np.array([[element(i, j) for j in range(LENGTH)]
                  for i in range(ROWS) if used(i)])
    probes = np.array([[element(i, j) for j in range(LENGTH)]
                       for i in range(12)])
    for scale in ["standard", "robust", "none", "global"]:
        for clip in [0, 3]:
            out = np.zeros_like(probes)
            for j in range(LENGTH - 1):
                center, factor = scaling(
                    x if scale == "global" else x[:, j],
                    "standard" if scale == "global" else scale)
                out[:, j] = [finish((v - center) * factor, clip)
                             for v in probes[:, j]]
            yield "vector", "vector", "vector(scale = %s, clip = %d)" % (
                scale, clip), out.ravel()


for lines in [numbers(), booleans(), times(), vectors()]:
    for line in lines:
        print("|".join(line[:3]) + "|" + " ".join("%.9g" % v for v in line[3]))
