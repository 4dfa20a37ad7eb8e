"""One process or several (torchrun): who am I, which device is mine, the sum over everybody, and a stop of all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch._utils import _flatten_dense_tensors, _unflatten_dense_tensors

from search_spaces.common.errors import UserError
from trainers.processes.interruption import StopRequests
from trainers.processes.rendezvous import open_store


@dataclass(frozen=True)
class World:
    """This process among `size`; rank 0 writes files. `requests`: what signals this process was sent."""

    rank: int
    size: int
    device: torch.device
    requests: StopRequests = field(default_factory=StopRequests, compare=False)
    _votes: list[_Vote] = field(default_factory=list, compare=False)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def sum_(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace every tensor by its sum over all processes, in one all-reduce of one flat buffer.

        One number more goes along: how many processes were asked to stop.
        """
        if self.size == 1:
            return
        asked = tensors[0].new_full((1,), float(self.requests.received is not None))
        flat = _flatten_dense_tensors([*tensors, asked])
        dist.all_reduce(flat)
        *sums, asked = _unflatten_dense_tensors(flat, [*tensors, asked])
        torch._foreach_copy_(list(tensors), sums)
        self._votes[:] = [*self._votes[-1:], _Vote(asked)]

    def stops(self, *, wait: bool = False) -> bool:
        """Whether any process was asked to stop: the same answer on all of them, as of their last common sum.

        On a CUDA device the answer is that of the sum before, which is there already, unless told to `wait`.
        """
        if self.size == 1:
            return self.requests.received is not None
        if not self._votes:
            return False
        return self._votes[-1 if wait or self.device.type == "cpu" else 0].any()

    def agree(self, number: int) -> int:
        """Rank 0's number, on every rank."""
        if self.size == 1:
            return number
        tensor = torch.tensor([number], device=self.device)
        dist.broadcast(tensor, src=0)
        return int(tensor.item())

    def barrier(self) -> None:
        if self.size > 1:
            self.sum_([torch.zeros(1, device=self.device)])

    def share(self, batch_size: int, micro_batch: int) -> slice:
        """The rows of the global batch that are this process's: a contiguous run of whole micro-batches."""
        num_groups = batch_size // micro_batch
        if num_groups % self.size:
            choices = [m for m in range(1, batch_size + 1) if batch_size % (m * self.size) == 0]
            hint = (
                f"Set train.micro_batch to {max((m for m in choices if m <= micro_batch), default=choices[0])}"
                if choices
                else f"Set train.batch_size to a multiple of {self.size}"
            )
            raise UserError(
                f"{num_groups} micro-batches of {micro_batch} images cannot be shared equally by {self.size} processes",
                key="train.micro_batch",
                hint=hint,
            )
        rows = num_groups // self.size * micro_batch
        return slice(self.rank * rows, (self.rank + 1) * rows)


class _Vote:
    """How many processes were asked to stop, on its way from the device to here."""

    def __init__(self, asked: torch.Tensor) -> None:
        self._arrived: torch.cuda.Event | None = None
        if not asked.is_cuda:
            self._asked = asked.clone()  # a view would keep the whole buffer
            return
        self._asked = torch.empty(1, dtype=asked.dtype, pin_memory=True).copy_(asked, non_blocking=True)
        self._arrived = torch.cuda.Event()
        self._arrived.record()

    def any(self) -> bool:
        if self._arrived is not None:
            self._arrived.synchronize()
        return bool(self._asked.item())


@contextmanager
def join_world(device: str, requests: StopRequests | None = None) -> Iterator[World]:
    """The world torchrun describes in the environment (gloo on CPU, nccl on CUDA); a world of one without it."""
    requests = requests or StopRequests()
    rank, size, local_rank = (
        int(os.environ.get(name, default))
        for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
    )
    chosen = find_device(device, local_rank)
    if size == 1 or dist.is_initialized():
        yield World(rank, size, chosen, requests)
        return
    backend = "nccl" if chosen.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=open_store(rank, size), rank=rank, world_size=size)
    try:
        yield World(rank, size, chosen, requests)
    finally:
        dist.destroy_process_group()


def find_device(name: str, local_rank: int = 0) -> torch.device:
    """`auto` is this process's CUDA device if there is one, else the CPU. Raises `UserError` for an unknown one."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError("unknown device", key="train.device", value=name, hint="Known: auto, cpu, cuda") from None
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and not torch.cuda.is_available()):
        raise UserError("this machine has no such device", key="train.device", value=name, hint="Set it to auto or cpu")
    if device.type == "cuda":
        index = local_rank if device.index is None else device.index
        if index >= torch.cuda.device_count():
            raise UserError(
                f"there are {torch.cuda.device_count()} CUDA devices", key="train.device", value=f"cuda:{index}"
            )
        device = torch.device("cuda", index)
        torch.cuda.set_device(device)
    return device


def autocast_dtype(amp: str, device: torch.device) -> torch.dtype | None:
    """`auto`: bf16 on CUDA devices that have it, not on CPUs, where it was measured to be slower. None: float32."""
    if amp == "off":
        return None
    if amp == "bf16":
        return torch.bfloat16
    return torch.bfloat16 if device.type == "cuda" and torch.cuda.is_bf16_supported() else None
