#!/usr/bin/python3
"""Writes parity.txt: what PyTorch (1.13, in double) computes in 50 training
steps of many small networks, for test/unit/test_parity.c.

    python3 parity.py > parity.txt

Data, targets, weights of rows and first parameters are formulas which both
sides compute (formula.py, reference.h), so the file holds results only.

Layers whose definition is Keras' and differs from PyTorch's module (dense's
kernel is [in, out]; batch normalization keeps the biased variance) or which it
has not are written out in PyTorch's operations; all gradients are by autograd, all updates by
torch.optim."""
import numpy as np
import torch
import torch.nn.functional as F

import language
from cases import CASES
from formula import phase

torch.set_default_dtype(torch.float64)
torch.set_num_threads(1)
STEPS, PER_EPOCH = 50, 5


# --- data ---

def sections_of(text):
    """[(name, columns, levels or None)] from "number 5 category [3,4]"."""
    words, found = text.split(), []
    for name, what in zip(words[::2], words[1::2]):
        if what[0] == "[":
            levels = [int(v) for v in what[1:-1].split(",")]
            found.append((name, len(levels), levels))
        else:
            found.append((name, int(what), None))
    return found


def make_x(sections, rows):
    width = sum(s[1] for s in sections)
    x = torch.zeros(rows, width)
    for r in range(rows):
        c = 0
        for _, columns, levels in sections:
            for j in range(columns):
                # one code too many: it stands for a category never seen
                x[r, c] = ((r * r + r * (c + 3) + 5 * c) % (levels[j] + 1)
                           if levels else 1.5 * phase(0.3, r * width + c))
                c += 1
    return x


def make_y(kind, rows, columns):
    y = torch.zeros(rows, 1 if kind == "class" else columns)
    for r in range(rows):
        for j in range(y.shape[1]):
            v = phase(1.1, r * y.shape[1] + j)
            y[r, j] = {"number": v, "binary": float(v > 0),
                       "count": float((5 * r + 3 * j) % 4),
                       "class": float((r * r + 3 * r) % columns)}[kind]
    return y


# --- layers: each returns the tensors of its trainable parameters, in the
# order of the engine, and computes ---

FUNCTIONS = {
    "linear": lambda x, a: x,
    "relu": lambda x, a: F.relu(x),
    # Keras' layer has 0.3, its function 0.2
    "leakyrelu": lambda x, a: F.leaky_relu(x, a(0, "negative_slope", 0.3)),
    "activation leakyrelu": lambda x, a: F.leaky_relu(x, 0.2),
    "elu": lambda x, a: F.elu(x, a(0, "alpha", 1.0)),
    "selu": lambda x, a: F.selu(x),
    "sigmoid": lambda x, a: torch.sigmoid(x),
    "tanh": lambda x, a: torch.tanh(x),
    "softplus": lambda x, a: F.softplus(x, threshold=700),
    "softsign": lambda x, a: F.softsign(x),
    "exponential": lambda x, a: torch.exp(x),
    # PyTorch's own has a sixth in single precision
    "hardsigmoid": lambda x, a: torch.clamp(x / 6 + 0.5, 0, 1),
    "gelu": lambda x, a: F.gelu(x),
    "silu": lambda x, a: F.silu(x),
    "mish": lambda x, a: F.mish(x),
    "softmax": lambda x, a: F.softmax(x, dim=-1),
    "dropout": lambda x, a: F.dropout(x, a(0, "rate", None)),
    "identity": lambda x, a: x,
    "flatten": lambda x, a: x.flatten(1),
    "reshape": lambda x, a: x.reshape(
        [x.shape[0]] + [int(n) for n in a(0, "target_shape", None)]),
}


def activation(f, x):
    """A function that is an argument."""
    name = {"swish": "silu", "none": "linear"}.get(f.name, f.name)
    return FUNCTIONS.get("activation " + name, FUNCTIONS[name])(x, f)



class Parameter:
    def __init__(self, tensor, kernel=False, rate=1.0):
        self.tensor, self.kernel, self.rate = tensor, kernel, rate


class Model:
    def __init__(self, text, sections, x):
        self.items = language.network(text)
        self.sections = sections
        self.params = []   # of all layers, in order
        self.own = []      # of each layer
        self.state = [{} for _ in self.items]
        self.run(x, build=True)

    def parameter(self, shape, **settings):
        number = len(self.params)
        t = torch.zeros(shape)
        flat = t.view(-1)
        for i in range(flat.numel()):
            flat[i] = 0.5 * phase(1.3 * (number + 1), i)
        t.requires_grad_(True)
        self.params.append(Parameter(t, **settings))
        return self.params[-1]

    def run(self, x, build=False, training=False):
        outputs, labels, last, levels = [], {}, x, {}
        if self.sections[0][2] and len(self.sections) == 1:
            levels[id(x)] = self.sections[0][2]
        for number, item in enumerate(self.items):
            if build:
                self.own.append(None)
            inputs = last
            refs = [labels[r] for r in self.refs(item) if r in labels]
            if item.name == "input":
                last, found = self.section(item, x)
                if found:
                    levels[id(last)] = found
            elif item.name in ("add", "concatenate", "multiply"):
                parts = refs if len(refs) > 1 else [inputs] + refs
                last = self.join(item, parts)
            else:
                source = refs[0] if refs else inputs
                last = self.layer(number, item, source, levels.get(id(source)),
                                  build, training)
            if item.label:
                labels[item.label] = last
            outputs.append(last)
        return last

    @staticmethod
    def refs(item):
        return [a.name if isinstance(a, language.Item) else None
                for a in item.args]

    def section(self, item, x):
        at = 0
        for name, columns, levels in self.sections:
            if not item.args:
                return x, levels
            if name == item.args[0].name:
                return x[:, at:at + columns], levels
            at += columns
        raise KeyError(item.args[0].name)

    @staticmethod
    def join(item, parts):
        if item.name == "concatenate":
            return torch.cat(parts, dim=1)
        total = parts[0]
        for p in parts[1:]:
            total = total + p if item.name == "add" else total * p
        return total

    def layer(self, number, item, x, levels, build, training):
        name = item.name
        if name in FUNCTIONS:
            if name == "dropout" and not training:
                return x
            return FUNCTIONS[name](x, item)
        if name == "activation":
            f = item.args[0] if item.args else item.named["function"]
            return activation(f, x)
        make = getattr(self, "build_" + name)
        if build:
            self.own[number] = make(item, x, levels)
        return getattr(self, "run_" + name)(item, self.own[number], x, levels,
                                            self.state[number], training)

    def build_dense(self, item, x, levels):
        units = int(item(0, "units", None))
        ntk = item(None, "ntk", False)
        own = [self.parameter((x.shape[-1], units), kernel=True,
                              rate=x.shape[-1] ** -0.5 if ntk else 1.0)]
        if item(None, "use_bias", True):
            own.append(self.parameter((units,), rate=0.1 if ntk else 1.0))
        return own

    def run_dense(self, item, own, x, levels, state, training):
        z = x @ own[0].tensor
        if len(own) > 1:
            z = z + own[1].tensor
        f = item(1, "activation", None)
        return activation(f, z) if f else z

    def build_scale(self, item, x, levels):
        return [self.parameter(x.shape[1:], rate=item(0, "rate", 6.0))]

    def run_scale(self, item, own, x, levels, state, training):
        return x * own[0].tensor

    def build_norm(self, item, x, first):
        own = []
        if item(first + 1, "scale", True):
            own.append(self.parameter(x.shape[-1:]))
        if item(first, "center", True):
            own.append(self.parameter(x.shape[-1:]))
        return own

    @staticmethod
    def affine(item, own, first, x):
        own = [p.tensor for p in own]
        if item(first + 1, "scale", True):
            x = x * own.pop(0)
        if item(first, "center", True):
            x = x + own.pop(0)
        return x

    def build_layernormalization(self, item, x, levels):
        return self.build_norm(item, x, 1)

    def run_layernormalization(self, item, own, x, levels, state, training):
        x = F.layer_norm(x, x.shape[-1:], eps=item(0, "epsilon", 1e-3))
        return self.affine(item, own, 1, x)

    def build_batchnormalization(self, item, x, levels):
        return self.build_norm(item, x, 2)

    def run_batchnormalization(self, item, own, x, levels, state, training):
        dims = list(range(x.dim() - 1))
        keep = item(0, "momentum", 0.99)
        old = state.get("moving", (torch.zeros(x.shape[-1]),
                                   torch.ones(x.shape[-1])))
        if training:
            mean = x.mean(dim=dims)
            var = x.var(dim=dims, unbiased=False)
            moved = x.detach().var(dim=dims,
                                   unbiased=item(4, "unbiased", False))
            state["moving"] = (keep * old[0] + (1 - keep) * mean.detach(),
                               keep * old[1] + (1 - keep) * moved)
        else:
            mean, var = old
        x = (x - mean) / torch.sqrt(var + item(1, "epsilon", 1e-3))
        return self.affine(item, own, 2, x)

    @staticmethod
    def onehots(item, x, levels, number, name):
        """A matrix for each column; a code that is no category is zeros."""
        same = int(item(number, name, 0))
        return [(x[:, c, None] == torch.arange(same or levels[c])).double()
                for c in range(x.shape[1])]

    def build_embedding(self, item, x, levels):
        total = sum(h.shape[1]
                    for h in self.onehots(item, x, levels, 1, "input_dim"))
        return [self.parameter((total, int(item(0, "output_dim", None))),
                               kernel=True)]

    def run_embedding(self, item, own, x, levels, state, training):
        at, parts = 0, []
        for h in self.onehots(item, x, levels, 1, "input_dim"):
            parts.append(h @ own[0].tensor[at:at + h.shape[1]])
            at += h.shape[1]
        return torch.cat(parts, dim=1)

    def build_onehot(self, item, x, levels):
        """Factor and middle of each column of zeros and ones."""
        scale = item(0, "scale", None)
        if scale is None or scale.name == "none":
            return None
        found = []
        for column in torch.cat(self.onehots(item, x, levels, 1, "num_tokens"),
                                dim=1).T.numpy():
            q25, q50, q75 = np.quantile(column, [0.25, 0.5, 0.75])
            span = column.max() - column.min()
            found.append((q50, 1 / (q75 - q25) if q75 > q25
                          else 2 / span if span > 0 else 0.0))
        return torch.tensor(found).T

    def run_onehot(self, item, own, x, levels, state, training):
        y = torch.cat(self.onehots(item, x, levels, 1, "num_tokens"), dim=1)
        if own is None:
            return y
        y = (y - own[0]) * own[1]
        return y / torch.sqrt(1 + (y / 3) ** 2)

    def build_piecewiselinear(self, item, x, levels):
        units, most = int(item(0, "units", 6)), int(item(1, "knots", 16))
        n = x.shape[1]
        knots = [np.unique(np.quantile(column, np.arange(most + 1) / most))
                 for column in x.T.numpy()]
        return [self.parameter((n, units), rate=0.1),
                self.parameter((n, units), rate=0.1),
                self.parameter((n, most, units), rate=0.1), knots]

    def run_piecewiselinear(self, item, own, x, levels, state, training):
        slope, intercept, kernel = [p.tensor for p in own[:3]]
        parts = []
        for c, knot in enumerate(own[3]):
            y = x[:, c, None] * slope[c] + intercept[c]
            for j in range(len(knot) - 1):
                part = (x[:, c, None] - knot[j]) / (knot[j + 1] - knot[j])
                low = -torch.inf if j == 0 else 0.0
                high = torch.inf if j == len(knot) - 2 else 1.0
                y = y + part.clamp(low, high) * kernel[c, j]
            parts.append(y)
        return torch.cat(parts, dim=1)


# --- losses: of each row ---

def smoothed(y, a):
    return y * (1 - a) + a / 2


def binary_focal(o, y, gamma, alpha):
    ce = F.binary_cross_entropy_with_logits(o, y, reduction="none")
    p = torch.sigmoid(o)
    p_t = y * p + (1 - y) * (1 - p)
    a_t = y * alpha + (1 - y) * (1 - alpha) if alpha >= 0 else 1.0
    return a_t * (1 - p_t) ** gamma * ce


def categorical_focal(o, y, gamma, alpha):
    ce = F.cross_entropy(o, y, reduction="none")
    p = torch.softmax(o, dim=1).gather(1, y[:, None])[:, 0]
    return alpha * (1 - p) ** gamma * ce


def rows_of_loss(text, o, y):
    i = language.item(text)
    none = dict(reduction="none")
    number = {
        "meansquarederror": lambda: F.mse_loss(o, y, **none),
        "meanabsoluteerror": lambda: F.l1_loss(o, y, **none),
        "huber": lambda: F.huber_loss(o, y, delta=i(0, "delta", 1.0), **none),
        "logcosh": lambda: torch.log(torch.cosh(o - y)),
        "poisson": lambda: F.poisson_nll_loss(o, y, log_input=True, full=False,
                                              **none),
        "quantile": lambda: torch.maximum(
            i(0, "quantile", 0.5) * (y - o),
            (i(0, "quantile", 0.5) - 1) * (y - o)),
        "binarycrossentropy": lambda: F.binary_cross_entropy_with_logits(
            o, smoothed(y, i(0, "label_smoothing", 0.0)), **none),
        "binaryfocalcrossentropy": lambda: binary_focal(
            o, y, i(0, "gamma", 2.0), i(1, "alpha", -1.0)),
    }
    if i.name in number:
        return number[i.name]().mean(dim=1)
    label = y[:, 0].long()
    if i.name == "categoricalcrossentropy":
        return F.cross_entropy(o, label, **none,
                               label_smoothing=i(0, "label_smoothing", 0.0))
    assert i.name == "categoricalfocalcrossentropy", i.name
    return categorical_focal(o, label, i(0, "gamma", 2.0), i(1, "alpha", 0.25))


# --- optimizers and schedules ---

def make_optimizer(text, params):
    i = language.item(text)
    lr = {"sgd": 0.01}.get(i.name, 0.001)
    lr = i(0, "learning_rate", lr)
    decay = i(None, "weight_decay", 0.004 if i.name == "adamw" else 0.0)
    groups = [dict(params=[p.tensor], lr=lr * p.rate,
                   decay=decay if p.kernel else 0.0, rate=p.rate)
              for p in params]
    eps = i(None, "epsilon", 1e-7)
    if i.name == "sgd":
        momentum = i(1, "momentum", 0.0)
        o = torch.optim.SGD(groups, lr, momentum=momentum,
                            nesterov=i(None, "nesterov", False))
    elif i.name in ("adam", "adamw"):
        o = torch.optim.Adam(
            groups, lr, eps=eps, amsgrad=i(None, "amsgrad", False),
            betas=(i(None, "beta_1", 0.9), i(None, "beta_2", 0.999)))
        if i.name == "adamw":
            for g in groups:
                g["weight_decay"] = g.pop("decay")
            o = torch.optim.AdamW(
                groups, lr, eps=eps, amsgrad=i(None, "amsgrad", False),
                betas=(i(None, "beta_1", 0.9), i(None, "beta_2", 0.999)))
    elif i.name == "rmsprop":
        o = torch.optim.RMSprop(
            groups, lr, alpha=i(None, "rho", 0.9), eps=eps,
            momentum=i(None, "momentum", 0.0),
            centered=i(None, "centered", False))
    else:
        assert i.name == "adagrad", i.name
        o = torch.optim.Adagrad(
            groups, lr, eps=eps, initial_accumulator_value=i(
                None, "initial_accumulator_value", 0.1))
    return i, lr, o


def clip(item, tensors):
    """Keras' three ways."""
    value = item(None, "clipvalue", 0)
    norm = item(None, "clipnorm", 0)
    total = item(None, "global_clipnorm", 0)
    if value:
        torch.nn.utils.clip_grad_value_(tensors, value)
    if norm:
        for t in tensors:
            t.grad *= norm / max(norm, t.grad.norm().item())
    if total:
        size = torch.sqrt(sum((t.grad ** 2).sum() for t in tensors)).item()
        for t in tensors:
            t.grad *= total / max(total, size)


def rates(text, lr):
    """PyTorch's schedulers, a rate for each step."""
    o = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    s, found = torch.optim.lr_scheduler, []
    i = language.item(text)
    scheduler = {
        "constant": lambda: s.ConstantLR(o, 1),
        "exponential": lambda: s.ExponentialLR(
            o, i(0, "decay_rate", 0.96) ** (1 / PER_EPOCH)),
        "cosine": lambda: s.CosineAnnealingLR(o, STEPS),
        "onecycle": lambda: s.OneCycleLR(o, lr, STEPS),
    }[i.name]()
    for step in range(STEPS):
        found.append(o.param_groups[0]["lr"])
        o.step()
        if step < STEPS - 1:
            scheduler.step()
    return found


def run(case):
    rows, batch = case["rows"], case["batch"]
    sections = sections_of(case["sections"])
    x = make_x(sections, rows)
    y = make_y(case["kind"], rows, case["columns"])
    w = torch.tensor([0.5 + 0.5 * (r % 4) for r in range(rows)])
    model = Model(case["layers"], sections, x)
    item, lr, optimizer = make_optimizer(case["optimizer"], model.params)
    tensors = [p.tensor for p in model.params]
    kernels = [p.tensor for p in model.params if p.kernel]
    losses = []
    for step, rate in enumerate(rates(case["schedule"], lr)):
        at = [(step * batch + i) % rows for i in range(batch)]
        each = rows_of_loss(case["loss"], model.run(x[at], training=True),
                            y[at])
        if case["weighted"]:
            each = each * w[at]
        loss = each.sum() / batch
        losses.append(loss.item())
        penalty = sum(case["l1"] * k.abs().sum() + case["l2"] * (k ** 2).sum()
                      for k in kernels)
        optimizer.zero_grad(set_to_none=False)
        (loss + penalty).backward()
        clip(item, tensors)
        for group in optimizer.param_groups:
            group["lr"] = rate * group["rate"]
            if "decay" in group:
                group["params"][0].data.mul_(1 - group["lr"] * group["decay"])
        optimizer.step()
    with torch.no_grad():
        return losses, model.run(x)


def numbers(values):
    return " ".join("%.17g" % v for v in values)


def main():
    for number, case in enumerate(CASES):
        case = dict(dict(rows=20, batch=8, sections="number 5", kind="number",
                         columns=1, loss="mean_squared_error",
                         optimizer="sgd(0.1)", schedule="constant",
                         weighted=0, l1=0, l2=0), **case)
        losses, predicted = run(case)
        print("case", number)
        for key in ("sections", "layers", "loss", "optimizer", "schedule",
                    "kind"):
            print(key, case[key])
        print("sizes", case["rows"], case["batch"], case["columns"],
              case["weighted"], case["l1"], case["l2"])
        print("losses", numbers(losses))
        print("predictions", numbers(predicted.reshape(-1).tolist()))


if __name__ == "__main__":
    main()
