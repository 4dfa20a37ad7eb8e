"""The file: classes of the blocks, the network of them, and what timm asks of a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn

from ofa.export.torch_code.blocks import Block, cut
from ofa.export.torch_code.classes import BlockClass, Fixed, construct, wrapped, write_classes
from ofa.export.torch_code.statements import literal
from search_spaces.common.errors import UserError


@dataclass(frozen=True)
class Description:
    """What the file says of the network. `name`: a Python identifier, by which timm knows it; `title`: one line;
    `interpolation`, `crop_pct`: as timm names what is done to pictures before `mean` and `std`.
    """

    name: str
    title: str
    input_size: tuple[int, int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    label_names: tuple[str, ...] = ()
    interpolation: str = "bilinear"
    crop_pct: float = 1.0


def model_file(network: fx.GraphModule, description: Description) -> str:
    """Python whose `Network` has the layers of `network` under the same names, and computes the same.

    Raises `UserError` naming a layer or function that it does not know, or a network that is no chain of blocks ending
    in a linear layer.
    """
    blocks = cut(network)
    linear = _last_linear(blocks[-1])
    first = _first_convolution(blocks[0])
    widths = {("part", first, "in_channels"): "in_chans"}
    ends = {("part", linear, "in_features"): "in_features", ("part", linear, "out_features"): "num_classes"}
    dropout = next((path for path, part in blocks[-1].parts.items() if isinstance(part, nn.Dropout)), None)
    if dropout is not None:
        ends[("part", dropout, "p")] = "drop_rate"
    classes = write_classes(blocks, [Fixed(blocks[0], widths), Fixed(blocks[-1], ends)])
    texts = dict.fromkeys(entry.text for entry in classes.values())
    imports = [line for line, used in _IMPORTS.items() if any(used in text for text in texts)]
    leaf = blocks[-1].parts[linear]
    assert isinstance(leaf, nn.Linear)
    settings = _settings(description, leaf.out_features, f"{blocks[0].name}.{first}", f"{blocks[-1].name}.{linear}")
    rate = _rate(blocks[-1], dropout)
    parts = [
        f"{_header(description, imports)}\nNAME = {literal(description.name)}\n{settings}",
        *texts,
        _network(blocks, classes, description, leaf, linear, rate),
        _FOOTER,
    ]
    return "\n\n\n".join(part.strip("\n") for part in parts) + "\n"


#: statements that files need where the text of a class holds this
_IMPORTS = {"import torch": "torch.", "import torch.nn.functional as F": "F."}


def _header(description: Description, imports: Sequence[str]) -> str:
    lines = [*imports, "from torch import Tensor, nn"]
    return f'"""{description.title}\n{_USE}"""\n\nfrom pathlib import Path\n\n' + "\n".join(lines) + "\n"


_USE = """
Plain PyTorch, with the weights in `model.safetensors` beside this file:

    network = create_model().eval()

Where timm is installed, importing this file makes it one of timm's models:

    import timm

    network = timm.create_model(NAME, pretrained=True, num_classes=5)

`CONFIG` holds the shape of the images and how they are prepared, as timm's models say it.
"""


def _settings(description: Description, num_classes: int, first: str, last: str) -> str:
    entries: dict[str, Any] = {
        "architecture": description.name,
        "input_size": description.input_size,
        "interpolation": description.interpolation,
        "crop_pct": description.crop_pct,
        "mean": description.mean,
        "std": description.std,
        "num_classes": num_classes,
        "pool_size": None,
        "first_conv": first,
        "classifier": last,
    }
    lines = [f'    "{name}": {literal(value)},\n' for name, value in entries.items()]
    lines.append('    "file": str(Path(__file__).with_name("model.safetensors")),\n')
    return f"CONFIG = {{\n{''.join(lines)}}}\n"


def _network(
    blocks: Sequence[Block],
    classes: dict[int, BlockClass],
    description: Description,
    leaf: nn.Linear,
    linear: str,
    rate: float | None,
) -> str:
    head = _head_start(blocks)
    made = []
    for block in blocks:
        own = {"in_chans": "in_chans", "num_classes": "num_classes", "drop_rate": "drop_rate"}
        made.append(wrapped(f"        self.{block.name} = {construct(block, classes, own)}\n"))
    features = "".join(f"        x = self.{block.name}(x)\n" for block in blocks[:head])
    pooled = "".join(f"        x = self.{block.name}(x)\n" for block in blocks[head:-1])
    last, in_chans = blocks[-1].name, description.input_size[0]
    drop = "" if rate is None else f", drop_rate: float = {literal(rate)}"
    return f'''class Network(nn.Module):
    """{description.title}"""

    def __init__(self, num_classes: int = {leaf.out_features}, in_chans: int = {in_chans}{drop}) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_features, self.head_hidden_size = {_num_features(blocks[head - 1], leaf)}, {leaf.in_features}
        self.pretrained_cfg = self.default_cfg = dict(CONFIG)
{"".join(made)}
    def forward_features(self, x: Tensor) -> Tensor:
{features}        return x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
{pooled}        return self.{last}(x, pre_logits)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_head(self.forward_features(x))

    def get_classifier(self) -> nn.Module:
        return self.{last}.{linear}

    def reset_classifier(self, num_classes: int) -> None:
        self.num_classes = num_classes
        new = nn.Linear(self.head_hidden_size, num_classes) if num_classes > 0 else nn.Identity()
        self.{last}.{linear} = new
'''


_FOOTER = '''
def create_model(pretrained: bool = True) -> Network:
    """The network; `pretrained` with its weights, which takes the package safetensors."""
    network = Network()
    if pretrained:
        from safetensors.torch import load_file

        network.load_state_dict(load_file(CONFIG["file"]))
    return network


try:
    from timm.models import build_model_with_cfg, register_model
except ImportError:  # plain PyTorch
    pass
else:

    def _create(pretrained: bool = False, **kwargs: object) -> nn.Module:
        return build_model_with_cfg(Network, NAME, pretrained, **kwargs)

    _create.__name__ = NAME
    default_cfgs = {NAME: CONFIG}
    register_model(_create)
'''


def _last_linear(block: Block) -> str:
    step = block.steps[-1]
    if step.kind == "module" and isinstance(block.parts[step.target], nn.Linear):
        return str(step.target)
    raise UserError("the last layer is no linear one, as models of timm have", key=block.name)


def _first_convolution(block: Block) -> str:
    for path, part in block.parts.items():
        if isinstance(part, nn.Conv2d):
            return path
    raise UserError("no convolution comes first, as in models of timm", key=block.name)


def _head_start(blocks: Sequence[Block]) -> int:
    """The number of the first block that gives no map of features any more: it takes averages over the image."""
    for number, block in enumerate(blocks[:-1]):
        step = block.steps[0]
        part = block.parts.get(step.target) if step.kind == "module" else None
        if isinstance(part, nn.AdaptiveAvgPool2d):
            return number
    return len(blocks) - 1


def _num_features(block: Block, leaf: nn.Linear) -> int:
    """Channels of what `block` gives."""
    layers = [part for part in block.parts.values() if isinstance(part, nn.Module)]
    norms = [part.normalized_shape[0] for part in layers if isinstance(part, nn.LayerNorm)]
    convolutions = [part.out_channels for part in layers if isinstance(part, nn.Conv2d)]
    return int([leaf.in_features, *convolutions, *norms][-1])


def _rate(block: Block, dropout: str | None) -> float | None:
    part: nn.Module | Block | Tensor | None = None if dropout is None else block.parts[dropout]
    return float(part.p) if isinstance(part, nn.Dropout) else None
