"""What this machine can do at most, and what a model asks of it: the two sides that `bench_limit.py` compares."""
import time
from dataclasses import dataclass, field
from functools import wraps
import torch
from torch.utils.flop_counter import FlopCounterMode

SIZES = (64, 256, 1024)     # of square products, for the best rate beside those of the model's own layers
STREAM = 2**26              # numbers that are read and written: 256 MiB, more than any cache here


def fastest(act, times: int = 3) -> float:
    "Processor seconds of the quickest of a few calls."
    spent = []
    for _ in range(times):
        start = time.process_time()
        act()
        spent.append(time.process_time() - start)
    return min(spent)


def layers_of(text) -> list[tuple[int, int]]:
    "(inputs, outputs) of the linear layers of one block of a decoder."
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    wide, keys = head * text.num_attention_heads, head * text.num_key_value_heads
    return [(text.hidden_size, wide), *[(text.hidden_size, keys)] * 2, (wide, text.hidden_size),
            *[(text.hidden_size, text.intermediate_size)] * 2, (text.intermediate_size, text.hidden_size)]


@dataclass
class Machine:
    "Measured rates: `products` are operations a second by (rows, inputs, outputs), `bytes` are those read or copied a second."
    products: dict
    bytes: dict

    @property
    def operations(self) -> float: return max(self.products.values())
    @property
    def bandwidth(self) -> float: return max(self.bytes.values())

    def least(self, operations: float, read: float = 0) -> float:
        "Seconds below which the work cannot be done: by arithmetic or by memory, whichever is more."
        return max(operations / self.operations, read / self.bandwidth)


def measured(text, rows=(1, 4, 20, 184, 600), stream: int = STREAM) -> Machine:
    "The rates of this machine now, at the threads that torch has."
    shapes = [(n, i, o) for n in rows for i, o in dict.fromkeys(layers_of(text))] + [(n, n, n) for n in SIZES]
    products = {}
    for n, inputs, outputs in shapes:
        x, weight = torch.randn(n, inputs), torch.randn(outputs, inputs)
        again = max(1, int(2e8 // (n * inputs * outputs)))
        def act(x=x, weight=weight, again=again):
            for _ in range(again): torch.nn.functional.linear(x, weight)
        products[n, inputs, outputs] = 2 * again * n * inputs * outputs / fastest(act)
    a, b = torch.randn(stream), torch.empty(stream)
    matrix, vector = a[:stream // 4096 * 4096].view(-1, 4096), torch.randn(4096)
    c = torch.randn(stream)
    rates = {"copy": 8 * stream / fastest(lambda: b.copy_(a)), "triad": 12 * stream / fastest(lambda: torch.add(a, c, alpha=2, out=b)),
             "matrix times vector": 4 * matrix.numel() / fastest(lambda: matrix @ vector)}
    return Machine(products, rates)


@dataclass
class Text:
    "The decoder of a model by its configuration, in float32."
    config: object

    def __post_init__(self):
        c = self.config
        self.head = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
        self.weights = c.num_hidden_layers * sum(i * o for i, o in layers_of(c))
        self.last = c.hidden_size * c.vocab_size

    def attention(self, pairs: float) -> float:
        "Operations of all layers for pairs of a query and a key."
        return 4 * pairs * self.config.num_attention_heads * self.head * self.config.num_hidden_layers

    def kept(self, positions: int) -> int:
        "Bytes of the keys and values of so many positions."
        return 8 * positions * self.config.num_key_value_heads * self.head * self.config.num_hidden_layers


def checked(model, text: Text, tokens: int = 40) -> None:
    "Raises `AssertionError` unless torch counts as many operations in a forward pass as the formula."
    with FlopCounterMode(display=False) as counted, torch.inference_mode():
        model.model.language_model(inputs_embeds=torch.randn(1, tokens, text.config.hidden_size), use_cache=False)
    by_kind = {str(k): v for k, v in counted.get_flop_counts()["Global"].items()}
    in_layers = sum(v for k, v in by_kind.items() if "mm" in k and "bmm" not in k)
    assert in_layers == 2 * tokens * text.weights, (in_layers, 2 * tokens * text.weights)
    attended = sum(v for k, v in by_kind.items() if "attention" in k)
    assert attended in (0, text.attention(tokens**2)), (attended, text.attention(tokens**2))   # 0: torch has no count of that kernel


@dataclass
class Stage:
    "What one stage took, and what it asks of a machine."
    seconds: float = 0
    calls: int = 0
    work: list = field(default_factory=list)     # (operations, bytes read) a call

    def least(self, machine: Machine) -> float: return sum(machine.least(*one) for one in self.work)


class Meter:
    "Times the parts of a model call by call, while other code runs it."
    def __init__(self, model, vision: float):
        self.text, self.vision = Text(model.config.get_text_config()), vision
        self.clear()
        self._watch(model.model, "get_image_features", self._encoded)
        self._watch(model.model.language_model, "forward", self._read)
        self._watch(model.lm_head, "forward", self._chosen)

    def clear(self) -> None: self.stages = {name: Stage() for name in ("vision", "prefill", "decode")}

    def _watch(self, owner, name: str, sort) -> None:
        own = getattr(owner, name)
        @wraps(own)
        def timed(*args, **more):
            where, work = sort(*args, **more)
            start = time.process_time()
            out = own(*args, **more)
            stage = self.stages[where]
            stage.seconds, stage.calls = stage.seconds + time.process_time() - start, stage.calls + 1
            stage.work.append(work)
            return out
        setattr(owner, name, timed)

    def _encoded(self, *_, pixel_values=None, image_grid_thw=None, **__):
        images = len(pixel_values) if image_grid_thw is None else len(image_grid_thw)
        return "vision", (images * self.vision, 0)

    def _read(self, *_, inputs_embeds=None, past_key_values=None, **__):
        rows, new, _ = inputs_embeds.shape
        before = past_key_values.get_seq_length() if past_key_values is not None else 0
        work = 2 * rows * new * self.text.weights + self.text.attention(rows * (new * before + new * (new + 1) / 2))
        return "prefill" if new > 1 else "decode", (work, 4 * self.text.weights + self.text.kept(rows * (before + new)))

    def _chosen(self, x): return "decode", (2 * x.numel() // x.shape[-1] * self.text.last, 4 * self.text.last)


def vision_operations(model, inputs) -> float:
    "What torch counts while the model encodes the one image of `inputs`."
    given = {k: v for k, v in inputs.items() if k in ("pixel_values", "image_grid_thw", "image_sizes")}
    with FlopCounterMode(display=False) as counted, torch.inference_mode(): model.model.get_image_features(**given)
    return counted.get_total_flops()
