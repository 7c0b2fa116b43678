"""Several processes as one: who does what, agreement between them, and rows gathered with gradients.

torchrun starts the processes, torch.distributed connects them. Every method of `ProcessGroup` does nothing special in a group of
one, so that callers need no second path. All processes of a group have to call the same methods in the same order.
Importing this does not import torch: commands ask for their group before they know whether they need it.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from focuscli.engine.torchrun import ALONE, Worker
from focuscli.errors import FocusError, RequirementError, UsageError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

SETTLE_SECONDS = 5.0
"""How long the first process keeps the store for others that may be gone."""
T = TypeVar("T")


class WorkerLost(RequirementError):
    """Another process of the group has gone or does not answer."""


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that share a job, seen from one of them.

    Attributes:
        worker: which of them this is.
        store: where they leave short messages, also for one whose connections are broken; None in a group of one.
        patient: torch's group for what may take long, see `rendezvous.PATIENCE`; None for its default group.
    """

    worker: Worker = ALONE
    store: Any = None
    patient: Any = None

    @property
    def rank(self) -> int:
        return self.worker.rank

    @property
    def world_size(self) -> int:
        return self.worker.size

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes."""
        return self.worker.is_main

    def device(self, name: str) -> torch.device:
        """`auto`, `cpu` or `cuda` as this process's own device; in a group of one as `resolve_device` has it.

        Raises:
            UsageError: a word that names one device for all. RequirementError: fewer GPUs than processes here.
        """
        import torch

        from focuscli.engine.device import resolve_device

        if self.world_size == 1:
            return resolve_device(name)
        if name not in ("auto", "cpu", "cuda"):
            raise UsageError(
                f"--device {name} is one device for {self.world_size} processes.",
                "Use --device cuda (each process takes the GPU of its LOCAL_RANK) or --device cpu.",
            )
        if name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
            return torch.device("cpu")
        present = torch.cuda.device_count()
        if present and self.worker.local_rank >= present:
            raise RequirementError(
                f"{self.worker.local_size} processes on this machine (LOCAL_RANK={self.worker.local_rank}), but torch "
                f"sees {present} GPUs.",
                f"Start torchrun --nproc-per-node {present}, or use --device cpu.",
            )
        return resolve_device(f"cuda:{self.worker.local_rank}")

    def shard(self, items: Sequence[T]) -> Sequence[T]:
        """This process's block of the items: contiguous, in order of rank, sizes differing by at most one."""
        return items[block(len(items), self.rank, self.world_size)]

    def broadcast(self, choose: Callable[[], T]) -> T:
        """What `choose` returns in the first process, for all; a `FocusError` that it raises there is raised in all."""
        if self.world_size == 1:
            return choose()
        outcome: list[Any] = [None, None]
        if self.is_main:
            try:
                outcome[0] = choose()
            except FocusError as error:
                outcome[1] = error
        with self.talking() as dist:
            dist.broadcast_object_list(outcome, src=0, group=self.patient)
        if outcome[1] is not None:
            raise outcome[1]
        chosen: T = outcome[0]
        return chosen

    def all_gather(self, value: T) -> list[T]:
        """Each process's value, in order of rank, in every process. Any object that pickles."""
        if self.world_size == 1:
            return [value]
        gathered: list[Any] = [None] * self.world_size
        with self.talking() as dist:
            dist.all_gather_object(gathered, value, group=self.patient)
        return gathered

    def any(self, flag: bool) -> bool:
        """Whether any process says so; also a meeting point: nobody passes before all are there."""
        if self.world_size == 1:
            return flag
        from torch import tensor

        total = tensor([int(flag)])
        with self.talking() as dist:
            dist.all_reduce(total, group=self.patient)
        return bool(total.item())

    def barrier(self) -> None:
        """Go on when all processes are here."""
        self.any(False)

    def gather_rows(self, rows: Tensor) -> Tensor:
        """[N, ...] of each process, alike in all -> [size * N, ...] in order of rank, in fp32 where it was a lower precision.

        The gradient is that of the sum of all processes' results: each process's rows get what every process wants of
        them. Where all compute the same loss from the rows that is `size` times the loss's own gradient, which the mean
        over processes that DistributedDataParallel takes of parameter gradients undoes exactly.
        """
        if self.world_size == 1:
            return rows
        from focuscli.engine.gathering import gather_rows

        with self.talking():
            return gather_rows(rows, self.rank, self.world_size)

    @contextlib.contextmanager
    def talking(self) -> Iterator[Any]:
        """Yield torch.distributed, and turn what it raises inside, when another process is gone, into `WorkerLost`."""
        import torch.distributed

        try:
            yield torch.distributed
        except FocusError:
            raise
        except RuntimeError as error:
            if self.world_size == 1 or not _is_connection(error):
                raise
            other = "The other worker" if self.world_size == 2 else f"One of the other {self.world_size - 1} workers"
            slow = "timed out" in str(error).lower()
            what = "has not answered in time" if slow else "has gone: killed, out of memory, or failed"
            raise WorkerLost(
                f"{other} {what}; the job cannot go on without it ({brief(error)}).",
                "torchrun's own report names it.",
            ) from error

    def speaks(self) -> bool:
        """Whether this process is the one that reports the end of a job that failed: the first to ask."""
        if self.store is None:
            return True
        try:
            return bool(self.store.compare_set("speaker", "", str(self.rank)) == str(self.rank).encode())
        except RuntimeError:  # the store went with its machine: nobody can be asked
            return True

    def said(self, code: int) -> None:
        """Tell the others that the end of the job is reported, and its exit code."""
        with contextlib.suppress(RuntimeError):
            self.store.set("said", str(code))

    def heard(self, seconds: float, key: str = "said") -> int | None:
        """The number that another process has left under `key` within so many seconds, or None."""
        deadline = time.monotonic() + seconds
        with contextlib.suppress(RuntimeError):
            while time.monotonic() < deadline:
                if self.store.check([key]):
                    return int(self.store.get(key))
                time.sleep(0.02)
        return None

    def settle(self) -> None:
        """The last word of every process of a job that failed. torchrun keeps the store; without it the first process does,
        which therefore goes last, so that nobody finds nothing there and reports the failure once more."""
        with contextlib.suppress(RuntimeError):
            gone = self.store.add("settled", 1)
            deadline = time.monotonic() + SETTLE_SECONDS
            mine = self.rank == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
            while mine and gone < self.world_size and time.monotonic() < deadline:
                time.sleep(0.02)
                gone = self.store.add("settled", 0)

    def leave(self) -> None:
        """Close the connections; the group is of no use then."""
        import torch.distributed as dist

        if self.world_size > 1 and dist.is_initialized():
            with contextlib.suppress(RuntimeError):
                dist.destroy_process_group()

    def __deepcopy__(self, memo: object) -> ProcessGroup:
        """Itself: connections have no copies (a model that holds a group is copied for its moving average)."""
        return self


SINGLE = ProcessGroup()


def block(count: int, rank: int, size: int) -> slice:
    """The positions of `count` items that are process `rank`'s."""
    return slice(count * rank // size, count * (rank + 1) // size)


def _is_connection(error: RuntimeError) -> bool:
    """Whether an error tells of other processes; those of gloo's are plain RuntimeErrors with its source file in them."""
    import torch.distributed as dist

    words = str(error).lower()
    return isinstance(error, dist.DistError) or any(
        sign in words for sign in ("gloo", "nccl", "connection closed", "connection reset", "broken pipe", "timed out")
    )


def brief(error: BaseException) -> str:
    """The first sentence of what torch says, without the place in its source."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return re.sub(r"^\[[^\]]*\.\w+:\d+\] ", "", line).split(". ")[0][:200].rstrip(". ")
