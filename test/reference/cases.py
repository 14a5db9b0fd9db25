"""The networks that parity.py trains; see there for what is left out.

kind is what the targets are: number, binary, count or class; columns how many
there are, or how many classes.  A section "category [3,4]" is two columns of
codes, of 3 and of 4 categories."""

ACTIVATIONS = ["relu", "leaky_relu", "elu", "selu", "sigmoid", "tanh",
               "softplus", "softsign", "exponential", "hard_sigmoid", "gelu",
               "silu", "mish"]

CASES = []


def case(layers, **settings):
    CASES.append(dict(settings, layers=layers))


# Layers: every activation as a layer and inside of dense.
for name in ACTIVATIONS:
    case("dense(6) %s dense(2)" % name, columns=2)
    case("dense(6, %s) dense(1)" % name)
case("dense(6) leaky_relu(0.1) dense(6) elu(0.5) dense(1)")
case("dense(6) activation(swish) dense(1, activation = none)")
case("dense(6) activation(leaky_relu) dense(1)")
case("dense(4) softmax dense(1)")
case("dense(6, tanh, use_bias = false) dropout(0) dense(1)")
case("input dense(6, tanh, ntk = true) dense(3, ntk = true) dense(1)",
     optimizer="adam(0.05)")
case("reshape([2, 3]) dense(4, tanh) softmax flatten dense(1)",
     sections="number 6")
case("reshape([2, 3]) dense(4) flatten relu identity dense(1)",
     sections="number 6")
case("dense(6) scale tanh dense(1)", optimizer="sgd(0.02)")
case("scale(rate = 2) dense(6, tanh) dense(1)", optimizer="adam(0.01)")

# Normalization: of rows, and of batches with moving averages.
for layer in ["layer_normalization", "layer_normalization(1e-5)",
              "layer_normalization(scale = false)",
              "layer_normalization(center = false)"]:
    case("dense(6) %s tanh dense(1)" % layer)
for layer in ["batch_normalization", "batch_normalization(0.9, 1e-5)",
              "batch_normalization(0.9, scale = false, unbiased = true)",
              "batch_normalization(0.9, center = false)"]:
    case("dense(6) %s tanh dense(1)" % layer)
    case("%s dense(6, tanh) %s dense(2)" % (layer, layer), columns=2,
         optimizer="adam(0.01)", weighted=1)
case("reshape([2, 3]) layer_normalization dense(4, tanh) batch_normalization "
     "flatten dense(1)", sections="number 6")

# Several layers joined.
case("a: dense(4, tanh) dense(4, tanh) dense(4) add(a) dense(1)")
case("a: dense(4) b: tanh c: dense(4) add(a, b, c, a) dense(1)",
     optimizer="sgd(0.02)")
case("a: dense(4) sigmoid multiply(a) dense(1)")
case("a: dense(4) b: tanh c: dense(4, sigmoid) multiply(a, b, c) dense(1)")
case("a: dense(3) multiply(a, a) dense(1)")
case("a: dense(3) tanh dense(2) concatenate(a) dense(1)")
case("a: dense(3) b: tanh c: dense(2) concatenate(a, c, b) dense(1)")
case("a: dense(4) b: dense(4, tanh) identity(a) dense(4) add(b) dense(1)")

# Categories; one code of each column is none.
CODES = "category [3,4]"
MIXED = "number 3 category [3,5,2] entity [9]"
case("embedding(3) dense(4, tanh) dense(1)", sections=CODES)
case("embedding(input_dim = 5, output_dim = 2) tanh dense(1)", sections=CODES,
     optimizer="adamw(0.01, weight_decay = 0.1)")
case("one_hot dense(4, tanh) dense(1)", sections=CODES)
case("one_hot(robust) dense(4, tanh) dense(1)", sections=CODES)
case("one_hot(num_tokens = 6) dense(1)", sections=CODES)
case("n: input(number) c: input(category) oc: one_hot(robust) "
     "e: input(entity) oe: embedding(3) concatenate(n, oc, oe) "
     "batch_normalization dense(6, selu) dense(1)", sections=MIXED,
     optimizer="adam(0.01)", l2=0.001)

# Piecewise linear curves, with and without repeated quantiles.
case("piecewise_linear dense(4, tanh) dense(1)")
case("piecewise_linear(units = 3, knots = 4) dense(1)",
     optimizer="adam(0.05)")
case("piecewise_linear(units = 2, knots = 8) dense(4, tanh) dense(1)",
     sections=CODES)

# The default network of tables.
case("n: input(number) p: piecewise_linear(6, 16) c: input(category) "
     "o: one_hot(robust) concatenate(n, p, o) scale dense(16, selu, "
     "ntk = true) dense(16, selu, ntk = true) dense(3, ntk = true)",
     sections=MIXED.replace(" entity [9]", ""), kind="class", columns=3,
     loss="categorical_crossentropy(label_smoothing = 0.1)",
     optimizer="adam(0.02, beta_2 = 0.95, epsilon = 1e-8)", rows=40,
     batch=16)

# Losses.
HIDDEN = "dense(6, tanh) dense(%d)"
for loss in ["mean_squared_error", "mean_absolute_error", "huber",
             "huber(delta = 0.3)", "log_cosh", "quantile", "quantile(0.9)"]:
    case(HIDDEN % 2, loss=loss, columns=2)
    case(HIDDEN % 1, loss=loss, weighted=1)
case(HIDDEN % 1, loss="poisson", kind="count")
case(HIDDEN % 3, loss="poisson", kind="count", columns=3, weighted=1)
for loss in ["binary_crossentropy",
             "binary_crossentropy(label_smoothing = 0.1)",
             "binary_focal_crossentropy",
             "binary_focal_crossentropy(gamma = 1.5, alpha = 0.25)"]:
    case(HIDDEN % 1, loss=loss, kind="binary")
    case(HIDDEN % 3, loss=loss, kind="binary", columns=3, weighted=1)
for loss in ["categorical_crossentropy",
             "categorical_crossentropy(label_smoothing = 0.1)",
             "categorical_focal_crossentropy",
             "categorical_focal_crossentropy(gamma = 1.5, alpha = 0.5)"]:
    case(HIDDEN % 2, loss=loss, kind="class", columns=2)
    case(HIDDEN % 4, loss=loss, kind="class", columns=4, weighted=1)

# Optimizers, with and without what all of them take.
for optimizer in ["sgd(0.1)", "sgd(0.05, momentum = 0.9)",
                  "sgd(0.05, momentum = 0.9, nesterov = true)",
                  "adam(0.01)", "adam(0.01, beta_1 = 0.8, beta_2 = 0.95, "
                  "epsilon = 1e-5)", "adam(0.05, amsgrad = true)",
                  "adamw(0.01)", "adamw(0.01, amsgrad = true)",
                  "rmsprop(0.01)", "rmsprop(0.01, rho = 0.99)",
                  "rmsprop(0.01, momentum = 0.5)",
                  "rmsprop(0.01, momentum = 0.5, centered = true)",
                  "rmsprop(0.01, centered = true)", "adagrad(0.05)",
                  "adagrad(0.05, initial_accumulator_value = 0)"]:
    case("dense(6, softplus) dense(2)", optimizer=optimizer, columns=2)
    case("dense(6, softplus) dense(2)", columns=2,
         optimizer=optimizer[:-1] + ", weight_decay = 0.1)")
for clip in ["clipnorm = 0.05", "clipvalue = 0.02", "global_clipnorm = 0.1"]:
    case("dense(6, tanh) dense(6, tanh) dense(2)", columns=2,
         optimizer="sgd(0.2, momentum = 0.5, %s)" % clip)
    case("dense(6, tanh) dense(6, tanh) dense(2)", columns=2, l2=0.01,
         optimizer="adamw(0.01, %s)" % clip)

# Penalties, schedules, sizes of batches.
case("dense(6, tanh) dense(2)", columns=2, l1=0.01)
case("dense(6, tanh) dense(2)", columns=2, l2=0.02, weighted=1)
case("dense(6, tanh) dense(2)", columns=2, l1=0.003, l2=0.01,
     optimizer="adam(0.01)")
for schedule in ["exponential(0.8)", "cosine", "one_cycle"]:
    case("dense(6, tanh) dense(1)", schedule=schedule)
    case("dense(6, tanh) dense(1)", schedule=schedule,
         optimizer="adamw(0.02)")
case("dense(6, tanh) dense(1)", batch=1)
case("dense(6, tanh) dense(1)", batch=2, optimizer="adam(0.01)")
case("dense(6, tanh) dense(1)", batch=7, weighted=1)
case("dense(40, tanh) dense(17, relu) dense(3)", batch=19, rows=33, columns=3,
     sections="number 29", optimizer="adam(0.01)")
