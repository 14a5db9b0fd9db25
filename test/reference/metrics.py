#!/usr/bin/python3
"""Writes metrics.txt: values of scikit-learn's metrics (1.2.1) for data that
test/unit/test_metrics.c computes for itself.

    python3 metrics.py > metrics.txt

A line: task variant weighted metric value.  Variants: plain; ties (few
different probabilities); absent (a class that does not occur, or nothing
predicted to be positive); constant (a target of one value)."""
import math
import warnings

import numpy as np
from sklearn import metrics as m

from formula import phase

warnings.simplefilter("ignore")
ROWS, CLASSES, LABELS, TARGETS = 60, 4, 3, 2


def data(task, variant):
    y, out = [], []
    for i in range(ROWS):
        if task == "binary":
            y.append(1.0 if phase(1, i) > 0.1 else 0.0)
            p = 1 / (1 + math.exp(-1.2 * phase(1, i) - phase(2, i)))
            if variant == "ties":
                p = math.floor(p * 8 + 0.5) / 8
            if variant == "absent":
                p = p * 0.4
            out.append([1 - p, p])
        elif task == "multiclass":
            label = int(math.floor(2 + 1.999 * phase(1, i)))
            if variant == "absent" and label == 3:
                label = 0
            y.append(float(label))
            row = [math.exp(phase(3 + j, i) + (1 if j == label else 0))
                   for j in range(CLASSES)]
            if variant == "ties":
                row = [math.floor(r) + 1 for r in row]
            out.append([r / sum(row) for r in row])
        elif task == "multilabel":
            y.append([1.0 if phase(1 + j, i) > 0.1 * j else 0.0
                      for j in range(LABELS)])
            row = [1 / (1 + math.exp(-1.2 * phase(1 + j, i) -
                                     phase(5 + j, i)))
                   for j in range(LABELS)]
            if variant == "ties":
                row = [math.floor(p * 7 + 0.5) / 7 for p in row]
            if variant == "absent":
                row[0] = row[0] * 0.4
            out.append(row)
        else:
            values = [3 * phase(1 + j, i) + j for j in range(TARGETS)]
            out.append([v + 0.5 * phase(5 + j, i)
                        for j, v in enumerate(values)])
            if variant == "constant":
                values[0] = 2.0
            y.append(values)
    return np.array(y), np.array(out)


def binary(y, p, w):
    c = (p > 0.5).astype(float)
    k = dict(sample_weight=w)
    return {
        "accuracy": m.accuracy_score(y, c, **k),
        "balanced_accuracy": m.balanced_accuracy_score(y, c, **k),
        "precision": m.precision_score(y, c, zero_division=0, **k),
        "recall": m.recall_score(y, c, zero_division=0, **k),
        "f1": m.f1_score(y, c, zero_division=0, **k),
        "roc_auc": m.roc_auc_score(y, p, **k),
        "log_loss": m.log_loss(y, p, **k),
        "brier": m.brier_score_loss(y, p, **k),
        "mcc": m.matthews_corrcoef(y, c, **k),
    }


def multiclass(y, p, w, variant):
    c = p.argmax(axis=1).astype(float)
    k = dict(sample_weight=w)
    macro = dict(average="macro", zero_division=0, **k)
    onehot = np.eye(CLASSES)[y.astype(int)]
    found = {
        "accuracy": m.accuracy_score(y, c, **k),
        "balanced_accuracy": m.balanced_accuracy_score(y, c, **k),
        "precision": m.precision_score(y, c, **macro),
        "recall": m.recall_score(y, c, **macro),
        "f1": m.f1_score(y, c, **macro),
        "log_loss": m.log_loss(y, p, labels=range(CLASSES), **k),
        "brier": np.average(((p - onehot) ** 2).sum(axis=1), weights=w),
        "mcc": m.matthews_corrcoef(y, c, **k),
    }
    if variant == "absent":
        found["roc_auc"] = np.mean([m.roc_auc_score(y == j, p[:, j], **k)
                                    for j in range(CLASSES) if (y == j).any()])
    else:
        found["roc_auc"] = m.roc_auc_score(y, p, multi_class="ovr",
                                           average="macro", **k)
    return found


def multilabel(y, p, w):
    each = [binary(y[:, j], p[:, j], w) for j in range(LABELS)]
    found = {name: np.mean([e[name] for e in each]) for name in each[0]}
    k = dict(sample_weight=w, average="macro", zero_division=0)
    c = (p > 0.5).astype(float)
    found["precision"] = m.precision_score(y, c, **k)
    found["recall"] = m.recall_score(y, c, **k)
    found["f1"] = m.f1_score(y, c, **k)
    found["roc_auc"] = m.roc_auc_score(y, p, sample_weight=w, average="macro")
    return found


def regression(y, p, w):
    k = dict(sample_weight=w)
    return {
        "r2": m.r2_score(y, p, **k),
        "rmse": m.mean_squared_error(y, p, squared=False, **k),
        "mae": m.mean_absolute_error(y, p, **k),
        "mse": m.mean_squared_error(y, p, **k),
        "mape": m.mean_absolute_percentage_error(y, p, **k),
    }


for task in "binary", "multiclass", "multilabel", "regression":
    variants = ("plain", "constant") if task == "regression" else (
        "plain", "ties", "absent")
    for variant in variants:
        y, out = data(task, variant)
        for weighted in 0, 1:
            w = np.array([0.5 + 0.5 * (i % 4) for i in range(ROWS)])
            w = w if weighted else None
            if task == "binary":
                found = binary(y, out[:, 1], w)
            elif task == "multiclass":
                found = multiclass(y, out, w, variant)
            elif task == "multilabel":
                found = multilabel(y, out, w)
            else:
                found = regression(y, out, w)
            for name, value in found.items():
                print(task, variant, weighted, name, "%.17g" % value)
