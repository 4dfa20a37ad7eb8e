"""Start weights of vision transformers: a checkpoint of timm's `VisionTransformer` (ViT, DeiT) in the largest subnet.

Width, heads and hidden features must be those of the largest subnet; of the blocks, the first ones are taken, and
blocks that the checkpoint does not have begin as the identity. Places of another grid and patches of another size are
resized, as the supernet does it itself. A norm after the pooling (timm's `fc_norm`) stands before it here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from search_spaces.common.errors import UserError
from search_spaces.elastic.tokens import places_on_grid, resized_kernel
from search_spaces.elastic.transformer import ElasticPatchEmbedding
from search_spaces.supernet import Supernet

NAMING = "timm VisionTransformer"

#: layer of a block, by timm's name -> ours: (slot's ending, layer)
_LAYERS = {
    "norm1": ("attention", "norm"),
    "attn.proj": ("attention", "project"),
    "norm2": ("mlp", "norm"),
    "mlp.fc1": ("mlp", "expand"),
    "mlp.fc2": ("mlp", "contract"),
}
#: other layers, and tensors that are no layer's
_SINGLE = {"norm": "classifier.norm", "fc_norm": "classifier.norm", "head": "classifier.linear"}
_WHOLE = {
    "patch_embed.proj.weight": "patches.conv.weight",
    "patch_embed.proj.bias": "patches.conv.bias",
    "pos_embed": "patches.places",
    "cls_token": "patches.places",
}


def is_transformer(tensors: Mapping[str, Tensor]) -> bool:
    return "blocks.0.attn.qkv.weight" in tensors


def transformer_tensors(tensors: Mapping[str, Tensor], supernet: Supernet, path: Path) -> dict[str, Tensor]:
    """The tensors by the names of the supernet's slots. Raises `UserError` where a shape is not that of the largest
    subnet.
    """
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        ours = our_names(name)
        named |= dict(zip(ours, tensor.chunk(len(ours)), strict=True)) if ours else {}
    embedding = supernet.slots["patches"]
    assert isinstance(embedding, ElasticPatchEmbedding)
    if "patch_embed.proj.weight" in tensors:
        kernel = tensors["patch_embed.proj.weight"]
        if kernel.ndim == 4 and kernel.shape[1] == 3 and embedding.conv.in_channels == 1:
            kernel = kernel.sum(dim=1, keepdim=True)  # grey images: the same grey in all channels
        named["patches.conv.weight"] = resized_kernel(kernel, embedding.conv.smallest)
    if "pos_embed" in tensors:
        named["patches.places"] = _places(tensors, embedding, path)
    wanted = dict(supernet.slots.state_dict())
    found: dict[str, Tensor] = {}
    for name in (name for name in wanted if name in named):
        if named[name].shape == wanted[name].shape:
            found[name] = named[name]
        elif not name.startswith("classifier.linear"):  # other classes: nothing of theirs is ours
            raise UserError(
                f"{tuple(named[name].shape)} numbers where the largest subnet has {tuple(wanted[name].shape)} ({name})",
                file=path,
                key="train.init.file",
                hint="Width, heads and hidden features of checkpoint and space must agree: see `ofa spaces`",
            )
    return found


def our_names(name: str) -> list[str]:
    """What a tensor of the checkpoint is called here; three names share the rows of queries, keys and values."""
    owner, _, part = name.rpartition(".")
    if match := re.fullmatch(r"blocks\.(\d+)\.(.+)", owner):
        block, layer = f"block{int(match[1]) + 1}", match[2]
        if layer == "attn.qkv":
            return [f"{block}_attention.{ours}.{part}" for ours in ("query", "key", "value")]
        slot, ours = _LAYERS.get(layer, ("", ""))
        return [f"{block}_{slot}.{ours}.{part}"] if slot else []
    if name in _WHOLE:
        return [_WHOLE[name]]
    return [f"{_SINGLE[owner]}.{part}"] if owner in _SINGLE else []


def silence_missing_blocks(supernet: Supernet, tensors: Mapping[str, Tensor]) -> int:
    """Let blocks that the checkpoint does not have begin as the identity; how many numbers became zero."""
    num_blocks = sum(name.endswith(".attn.qkv.weight") for name in tensors)
    zeroed = 0
    for name, slot in supernet.slots.items():
        match = re.fullmatch(r"block(\d+)_(attention|mlp)", name)
        if match is None or int(match[1]) <= num_blocks:
            continue
        last = slot.get_submodule("project" if match[2] == "attention" else "contract")
        for parameter in last.parameters(recurse=False):
            parameter.zero_()
            zeroed += parameter.numel()
    return zeroed


def _places(tensors: Mapping[str, Tensor], embedding: ElasticPatchEmbedding, path: Path) -> Tensor:
    """Ours hold the class token in the first place."""
    places = tensors["pos_embed"].flatten(0, -2)
    token = tensors.get("cls_token")
    num_before = 1 if token is not None and round((len(places) - 1) ** 0.5) ** 2 == len(places) - 1 else 0
    grid = round((len(places) - num_before) ** 0.5)
    if grid**2 != len(places) - num_before:
        raise UserError(f"{len(places)} places are no square grid", file=path, key="train.init.file")
    before, rest = places.split([num_before, grid**2])
    rest = places_on_grid(rest, grid, embedding.grid)
    if not embedding.class_token:
        return rest
    first = torch.zeros(1, rest.shape[1]) if token is None else token.flatten(0, -2)
    return torch.cat([first + before.sum(dim=0, keepdim=True), rest])
