"""What other libraries take for the layers and networks of the kit, on the GPU of this machine.

Each peer is a function that makes a callable, or raises Missing with the reason why it can't: a package that is not there, a
shape that it does not take. Times are medians between CUDA events, over inputs in turns, as sparsec's are.
"""

import importlib
import math

SETS, SAMPLES, SAMPLE_MS = 4, 21, 1.0


class Missing(Exception):
    """Why a peer has no time."""


def package(name):
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Missing(f"no {name}") from None
    except Exception as error:  # a package may fail in its own ways
        raise Missing(f"no {name}: {type(error).__name__}") from None


def torch_gpu():
    torch = package("torch")
    if not torch.cuda.is_available():
        raise Missing("no GPU")
    return torch


def median_us(torch, run):
    """Microseconds of `run(set)`, with a CUDA graph where that can be captured."""
    for i in range(3 * SETS):
        run(i % SETS)
    torch.cuda.synchronize()
    replay = run
    try:
        graphs = []
        for i in range(SETS):
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                run(i)
            graphs.append(graph)
        replay = lambda i: graphs[i].replay()  # noqa: E731
        replay(0)
        torch.cuda.synchronize()
    except Exception:
        torch.cuda.synchronize()
        replay = run

    def sample(runs):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for i in range(runs):
            replay(i % SETS)
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / runs

    once = sample(SETS)
    runs = min(max(SETS, math.ceil(SAMPLE_MS / max(once, 1e-6))), 10_000)
    times = sorted(sample(runs) for _ in range(SAMPLES))
    return times[len(times) // 2] * 1e3


def weight_of(torch, layer):
    """A weight with zeros in the layer's pattern, f32 on the GPU. Which ones does not matter for time."""
    torch.manual_seed(1)
    m, k = layer["m"], layer["k"]
    weight = torch.randn(m, k, device="cuda") / math.sqrt(k)
    kind, *values = layer["pattern"].split(":")
    if kind == "un":
        weight[torch.rand(m, k, device="cuda") < float(values[0])] = 0
    elif kind == "nm":
        keep = torch.zeros(m * k // 4, 4, device="cuda").scatter_(1, torch.rand(m * k // 4, 4, device="cuda").topk(2).indices, 1)
        weight *= keep.reshape(m, k)
    elif kind == "block":
        rows, columns = int(values[0]), int(values[1])
        gone = torch.rand(-(-m // rows), -(-k // columns), device="cuda") < float(values[2])
        weight[gone.repeat_interleave(rows, 0).repeat_interleave(columns, 1)[:m, :k]] = 0
    return weight


def inputs_of(torch, layer, dtype):
    return [torch.randn(layer["k"], layer["n"], device="cuda", dtype=dtype) for _ in range(SETS)]


def cublas(dtype):
    def peer(layer):
        torch = torch_gpu()
        torch.backends.cuda.matmul.allow_tf32 = dtype == "tf32"
        kind = {"f32": torch.float32, "tf32": torch.float32, "f16": torch.float16}[dtype]
        weight, xs = weight_of(torch, layer).to(kind), inputs_of(torch, layer, kind)
        return torch, lambda i: torch.relu(weight @ xs[i])

    return peer


def cusparse(layer):
    torch = torch_gpu()
    if not layer["pattern"].startswith("un"):
        raise Missing("unstructured only")
    weight, xs = weight_of(torch, layer).to_sparse_csr(), inputs_of(torch, layer, torch.float32)
    return torch, lambda i: torch.relu(weight @ xs[i])


def cupy_csr(layer):
    """cuSPARSE through CuPy; on its own stream, so without a graph."""
    torch = torch_gpu()
    cupy, sparse = package("cupy"), package("cupyx.scipy.sparse")
    if not layer["pattern"].startswith("un"):
        raise Missing("unstructured only")
    weight = sparse.csr_matrix(cupy.asarray(weight_of(torch, layer)))
    xs = [cupy.asfortranarray(cupy.asarray(x)) for x in inputs_of(torch, layer, torch.float32)]

    def run(i):
        with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
            return cupy.maximum(weight @ xs[i], 0)

    return torch, run


def cusparselt(layer):
    torch = torch_gpu()
    if layer["pattern"] != "nm:2:4":
        raise Missing("2:4 only")
    if layer["n"] % 8 or layer["m"] % 32 or layer["k"] % 64:
        raise Missing("a shape that cuSPARSELt does not take")
    to_sparse = package("torch.sparse").to_sparse_semi_structured
    weight, xs = to_sparse(weight_of(torch, layer).half()), inputs_of(torch, layer, torch.float16)
    return torch, lambda i: torch.relu(torch.mm(weight, xs[i]))


def triton_blocks(layer):
    """Block-sparse times dense, f16 with f32 sums: a program for each block row and tile of columns."""
    torch = torch_gpu()
    kind, *values = layer["pattern"].split(":")
    if kind != "block":
        raise Missing("blocks only")
    triton, tl = package("triton"), package("triton.language")
    m, k, n = layer["m"], layer["k"], layer["n"]
    size = int(values[0])
    if m % size or k % size or n < 16:
        raise Missing("whole blocks and 16 columns at least")
    dense = weight_of(torch, layer)
    blocks = dense.reshape(m // size, size, k // size, size).permute(0, 2, 1, 3)
    kept = (blocks != 0).any(-1).any(-1)
    data = blocks[kept].contiguous().half()
    columns = kept.nonzero()[:, 1].to(torch.int32).contiguous()
    starts = torch.cat([kept.new_zeros(1, dtype=torch.int32), kept.sum(1).cumsum(0).to(torch.int32)]).contiguous()
    xs = inputs_of(torch, layer, torch.float16)
    ys = [torch.empty(m, n, device="cuda", dtype=torch.float16) for _ in range(SETS)]
    kernel = block_kernel(triton, tl)
    tile = min(128, max(16, triton.next_power_of_2(n)))
    grid = (m // size, triton.cdiv(n, tile))
    return torch, lambda i: kernel[grid](data, columns, starts, xs[i], ys[i], n, SIZE=size, TILE=tile)


_KERNEL = []


def block_kernel(triton, tl):
    if _KERNEL:
        return _KERNEL[0]
    # Triton reads a kernel's source and its module's names.
    globals()["tl"] = tl

    @triton.jit
    def kernel(data, columns, starts, x, y, n, SIZE: tl.constexpr, TILE: tl.constexpr):
        row = tl.program_id(0)
        cols = tl.program_id(1) * TILE + tl.arange(0, TILE)
        inner = tl.arange(0, SIZE)
        total = tl.zeros((SIZE, TILE), dtype=tl.float32)
        for at in range(tl.load(starts + row), tl.load(starts + row + 1)):
            block = tl.load(data + at * SIZE * SIZE + inner[:, None] * SIZE + inner[None, :])
            first = tl.load(columns + at) * SIZE
            part = tl.load(x + (first + inner)[:, None] * n + cols[None, :], mask=cols[None, :] < n, other=0.0)
            total += tl.dot(block, part)
        total = tl.maximum(total, 0.0)
        tl.store(y + (row * SIZE + inner)[:, None] * n + cols[None, :], total.to(tl.float16), mask=cols[None, :] < n)

    _KERNEL.append(kernel)
    return kernel


LAYERS = {
    "cuBLAS f32": cublas("f32"),
    "cuBLAS tf32": cublas("tf32"),
    "cuBLAS f16": cublas("f16"),
    "cuSPARSE CSR f32": cusparse,
    "CuPy CSR f32": cupy_csr,
    "cuSPARSELt f16": cusparselt,
    "Triton blocks f16": triton_blocks,
}


def network_module(torch, name, shape):
    """The networks of `src/networks.rs`; None for one that is not known here."""
    nn = torch.nn

    class Encoder(nn.Module):
        def __init__(self, width, heads):
            super().__init__()
            self.heads = heads
            self.q, self.k, self.v, self.out = (nn.Linear(width, width) for _ in range(4))
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
            self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)

        def forward(self, x):
            split = lambda t: t.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # noqa: E731
            attended = nn.functional.scaled_dot_product_attention(split(self.q(x)), split(self.k(x)), split(self.v(x)))
            x = self.first(self.out(attended.transpose(1, 2).flatten(2)) + x)
            return self.second(self.down(nn.functional.gelu(self.up(x))) + x)

    class Bottleneck(nn.Module):
        def __init__(self, outer, inner, stride, project):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(outer, inner, 1),
                nn.ReLU(),
                nn.Conv2d(inner, inner, 3, stride, 1),
                nn.ReLU(),
                nn.Conv2d(inner, 4 * inner, 1),
            )
            self.shortcut = nn.Conv2d(outer, 4 * inner, 1, stride) if project else nn.Identity()

        def forward(self, x):
            return torch.relu(self.body(x) + self.shortcut(x))

    def resnet(blocks, channels, classes):
        layers = [nn.Conv2d(3, channels, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        outer, inner = channels, channels
        for stage, count in enumerate(blocks):
            for block in range(count):
                layers.append(Bottleneck(outer, inner, 2 if stage and not block else 1, not block))
                outer = 4 * inner
            inner *= 2
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(outer, classes))

    perceptron = lambda *w: nn.Sequential(  # noqa: E731
        *(layer for a, b in zip(w, w[1:]) for layer in (nn.Linear(a, b), nn.ReLU()))
    )[:-1]
    known = {
        "mlp": lambda: perceptron(40, 48, 10),
        "mlp_b1": lambda: perceptron(1024, 4096, 4096, 1000),
        "mlp_b64": lambda: perceptron(1024, 4096, 4096, 1000),
        "bert": lambda: nn.Sequential(Encoder(32, 2)),
        "bert_base": lambda: nn.Sequential(*(Encoder(768, 12) for _ in range(12))),
        "resnet": lambda: resnet([1, 1], 8, 10),
        "resnet50": lambda: resnet([3, 4, 6, 3], 64, 1000),
    }
    if name not in known:
        raise Missing("no such network here")
    return known[name]().eval().cuda()


def torch_network(compiled, half):
    def peer(network):
        torch = torch_gpu()
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        module = network_module(torch, network["name"], network["input"])
        xs = [torch.randn(*network["input"], device="cuda") for _ in range(SETS)]
        if half:
            module, xs = module.half(), [x.half() for x in xs]
        if compiled:
            package("triton")
            module = torch.compile(module)

        def run(i):
            with torch.no_grad():
                return module(xs[i])

        return torch, run

    return peer


NETWORKS = {
    "PyTorch f32": torch_network(False, False),
    "torch.compile f32": torch_network(True, False),
    "PyTorch f16": torch_network(False, True),
    "torch.compile f16": torch_network(True, True),
}


def times(peers, case):
    """Microseconds by peer, or the reason why there are none."""
    found = {}
    for name, peer in peers.items():
        try:
            torch, run = peer(case)
            found[name] = median_us(torch, run)
        except Missing as missing:
            found[name] = str(missing)
        except Exception as error:  # a peer that fails must not end the run
            found[name] = f"{type(error).__name__}: {error}".splitlines()[0][:100]
    return found


def versions():
    found = {}
    for name in ("torch", "triton", "cupy"):
        try:
            found[name] = getattr(package(name), "__version__", "?")
        except Missing:
            found[name] = "not installed"
    return found
