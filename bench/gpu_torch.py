"""PyTorch on the GPU, for scripts/gpucheck: what bench/gpu.c measures.

Prints lines of what was measured, a number, and its unit, separated by tabs.
"compiled" is torch.compile with CUDA graphs; "captured" is the whole step, as it
is, in one CUDA graph.
"""
import sys
import time

import torch

INPUTS = 28


def network():
    return torch.nn.Sequential(
        torch.nn.Linear(INPUTS, 128), torch.nn.ReLU(),
        torch.nn.Linear(128, 64), torch.nn.ReLU(),
        torch.nn.Linear(64, 1)).cuda()


def peak(side=8192, times=20):
    """A large product of bf16, nothing else."""
    a, b = (torch.rand(side, side, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for i in range(times + 1):
        if i == 1:
            torch.cuda.synchronize()
            begun = time.perf_counter()
        torch.matmul(a, b)
    torch.cuda.synchronize()
    return 2 * side ** 3 * times / (time.perf_counter() - begun)


def captured(step, batch):
    """The step as a graph, which is given its rows by copying them."""
    xs = torch.rand(batch, INPUTS, device="cuda")
    ys = torch.rand(batch, 1, device="cuda")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step(xs, ys)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(xs, ys)

    def replay(x, y):
        xs.copy_(x)
        ys.copy_(y)
        graph.replay()

    return replay


def measure(batch, kind, precision):
    torch.manual_seed(1)
    rows = 1 << 20
    x = torch.rand(rows, INPUTS, device="cuda") * 2 - 1
    y = torch.rand(rows, 1, device="cuda")
    order = torch.randperm(rows, device="cuda")
    model = network()
    # with a learning rate that is a tensor the update can be captured, too
    optimizer = torch.optim.Adam(model.parameters(), lr=torch.tensor(1e-3, device="cuda"),
                                 capturable=True, fused=kind != "compiled")

    def step(xs, ys):
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bf16",
                            cache_enabled=kind != "captured"):
            loss = torch.nn.functional.mse_loss(model(xs).float(), ys)
        loss.backward()
        optimizer.step()
        return loss

    if kind == "compiled":
        step = torch.compile(step, mode="max-autotune")
    elif kind == "captured":
        step = captured(step, batch)
    at, steps, begun = 0, 0, 0.0
    while True:
        if steps == 20 or (steps > 20 and steps % 32 == 0):
            torch.cuda.synchronize()
            if steps == 20:
                begun = time.perf_counter()
            elif time.perf_counter() - begun > 3:
                break
        chosen = order[at:at + batch]
        step(x[chosen], y[chosen])
        steps += 1
        at = at + batch if at + 2 * batch <= rows else 0
    return batch * (steps - 20) / (time.perf_counter() - begun)


def main():
    print("torch product of 8192 x 8192, bf16\t%.4g\tTFLOP/s" % (peak() / 1e12))
    # what matters most comes first, as compiling may take all the time there is
    for batch, precision in ((1024, "fp32"), (65536, "fp32"), (65536, "bf16"),
                             (1024, "bf16"), (65536, "tf32"), (1024, "tf32")):
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        for kind in ("eager", "captured", "compiled"):
            name = "torch %s %s, batch %d" % (kind, precision, batch)
            try:
                speed = measure(batch, kind, precision)
            except Exception as error:  # a compiler that is not there, for one
                print("%s\tfailed: %s\t" % (name, str(error).split("\n")[0][:60]))
                continue
            print("%s\t%.4g\tM rows/s" % (name, speed / 1e6))
            sys.stdout.flush()


if __name__ == "__main__":
    main()
