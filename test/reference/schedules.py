#!/usr/bin/python3
"""Writes schedules.txt: learning rates of PyTorch's schedulers (1.13), and of
formulas where PyTorch has none, for test/unit/test_schedules.c.

    python3 schedules.py > schedules.txt

A line: steps, steps per epoch, base rate, number of rates, the rates, and the
schedule's text.  In a line that begins with "observe" the rates are those
after each epoch whose validation loss is observed()."""
import math
import warnings

import torch
from torch.optim import lr_scheduler as s

from formula import phase

warnings.simplefilter("ignore")
STEPS, EPOCH, RATE = 40, 8, 0.05


def observed(epoch):
    return 0.5 + 0.4 * phase(1, epoch) / (1 + epoch)


def optimizer():
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=RATE)


def rates(make):
    o = optimizer()
    scheduler = make(o)
    found = []
    for _ in range(STEPS):
        found.append(o.param_groups[0]["lr"])
        o.step()
        scheduler.step()
    return found


def show(text, found, first=STEPS):
    print(first, EPOCH, RATE, len(found),
          " ".join("%.17g" % r for r in found), text)


def formula(f):
    return [RATE * f(step / STEPS) for step in range(STEPS)]


def cosine_after_warmup(steps, start):
    return lambda o: s.SequentialLR(
        o, [s.LinearLR(o, start, 1, steps),
            s.CosineAnnealingLR(o, STEPS - steps)], [steps])


show("constant", rates(lambda o: s.ConstantLR(o, 1)))
show("exponential(0.9, 1)", rates(lambda o: s.ExponentialLR(o, 0.9)))
show("exponential(gamma = 0.5, staircase = true)",
     rates(lambda o: s.StepLR(o, EPOCH, 0.5)))
show("ExponentialDecay(decay_rate = 0.5, decay_steps = 3, staircase = true)",
     rates(lambda o: s.StepLR(o, 3, 0.5)))
show("exponential", rates(lambda o: s.ExponentialLR(o, 0.96 ** (1 / EPOCH))))
show("cosine", rates(lambda o: s.CosineAnnealingLR(o, STEPS)))
show("CosineDecay(alpha = 0.2)",
     rates(lambda o: s.CosineAnnealingLR(o, STEPS, 0.2 * RATE)))
show("cosine(warmup_steps = 10, warmup_from = 0.1)",
     rates(cosine_after_warmup(10, 0.1)))
show("one_cycle", rates(lambda o: s.OneCycleLR(o, RATE, STEPS + 1))[:STEPS],
     STEPS + 1)
show("OneCycleLR(max = 2, pct_start = 0.5, div_factor = 5, "
     "final_div_factor = 20)",
     rates(lambda o: s.OneCycleLR(o, 2 * RATE, STEPS + 1, pct_start=0.5,
                                  div_factor=5,
                                  final_div_factor=20))[:STEPS], STEPS + 1)
show("piecewise(boundaries = [9, 19, 29], values = [0.05, 0.005, 0.0005, "
     "0.00005])", rates(lambda o: s.MultiStepLR(o, [10, 20, 30], 0.1)))
show("coslog", formula(
    lambda t: 0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + 15 * t)))))
show("coslog(cycles = 2)", formula(
    lambda t: 0.5 * (1 - math.cos(2 * math.pi * math.log2(1 + 3 * t)))))
show("flat_cosine", formula(
    lambda t: 1 if t < 0.5 else 0.5 * (1 + math.cos(math.pi * (2 * t - 1)))))


def plateau(text, **options):
    """PyTorch waits an epoch longer, and cools down one longer."""
    o = optimizer()
    scheduler = s.ReduceLROnPlateau(o, threshold_mode="abs", eps=0, **options)
    found = []
    for epoch in range(STEPS):
        scheduler.step(observed(epoch))
        found.append(o.param_groups[0]["lr"])
    print("observe", end=" ")
    show(text, found)


plateau("plateau(patience = 3, min_delta = 0)", factor=0.1, patience=2,
        threshold=0)
plateau("ReduceLROnPlateau(factor = 0.5, patience = 2, min_delta = 0.01, "
        "cooldown = 3, min_lr = 0.002)", factor=0.5, patience=1,
        threshold=0.01, cooldown=2, min_lr=0.002)
