"""Several processes that share one job: what torchrun says, how they meet, and what they exchange.

Every method of `ProcessGroup` is trivial in a group of one, so that callers need no second path. All processes of a group
must call the same methods in the same order. Importing this imports no torch: commands join their group before they know
whether they need it.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from focuscli.errors import FocusError, RequirementError, UsageError, one_line

if TYPE_CHECKING:
    import torch

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT", "MASTER_ADDR", "LOCAL_WORLD_SIZE")
TIMEOUT = timedelta(days=1)
"""How long a process waits for another one, which may be slower with work of its own. One that has died is noticed at once."""
T = TypeVar("T")


class WorkerLost(RequirementError):
    """Another process of the group has gone or cannot be reached."""


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that share a job, seen from one of them; ranks as torchrun counts them."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """`auto`, `cpu` or `cuda` as this process's own device; UsageError for a single one in a group of several."""
        from focuscli.engine.device import resolve_device

        if self.world_size > 1:
            if name not in ("auto", "cpu", "cuda"):
                raise UsageError(
                    f"--device {name} is one device for {self.world_size} processes.",
                    "Use --device cuda (each process takes the GPU of its LOCAL_RANK) or --device cpu.",
                )
            if resolve_device(name).type == "cuda":
                name = f"cuda:{self.local_rank}"
        return resolve_device(name)

    def shard(self, items: Sequence[T]) -> Sequence[T]:
        """This process's block of the items: contiguous, in order of rank, sizes differing by at most one."""
        return items[block(len(items), self.rank, self.world_size)]

    def broadcast(self, choose: Callable[[], T]) -> T:
        """What `choose` returns in the main process, for all; a `FocusError` that it raises there is raised in all."""
        chosen: Any = None
        if self.is_main:
            try:
                chosen = choose()
            except FocusError as error:
                if self.world_size == 1:
                    raise
                chosen = error
        chosen = self.all_gather(chosen)[0]
        if isinstance(chosen, FocusError):
            raise chosen
        return chosen

    def all_gather(self, value: T) -> list[T]:
        """Each process's value, in order of rank, in every process. Any object that can be pickled."""
        if self.world_size == 1:
            return [value]
        gathered: list[Any] = [None] * self.world_size
        with lost_workers() as dist:
            dist.all_gather_object(gathered, value)
        return gathered

    def any(self, flag: bool) -> bool:
        """Whether the flag is true in any process; also a barrier."""
        if self.world_size == 1:
            return flag
        import torch

        found = torch.tensor(int(flag))  # nothing is pickled: training asks after every step
        with lost_workers() as dist:
            dist.all_reduce(found, dist.ReduceOp.MAX)
        return bool(found)


SINGLE = ProcessGroup()


def block(count: int, rank: int, size: int) -> slice:
    """The positions of `count` items that belong to process `rank` of `size`."""
    return slice(count * rank // size, count * (rank + 1) // size)


def read_environment(environment: Mapping[str, str] = os.environ) -> ProcessGroup:
    """The group that torchrun's variables describe, or `SINGLE`; UsageError where they are missing or make no sense."""
    # Not MASTER_ADDR: clusters set it in every container.
    if not any(environment.get(name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")):
        return SINGLE
    try:
        rank, size, local_rank, port = (int(environment[name]) for name in VARIABLES[:4])
        local_size = int(environment.get("LOCAL_WORLD_SIZE") or size)
        sound = bool(environment["MASTER_ADDR"]) and 1 <= port <= 65535
        sound = sound and 0 <= local_rank <= rank < size and local_rank < local_size <= size
    except (KeyError, ValueError):
        sound = False
    if not sound:
        given = ", ".join(f"{name}={value}" for name, value in environment.items() if value and name in VARIABLES)
        raise UsageError(
            f"torchrun's variables do not fit together: {given}. All of {', '.join(VARIABLES[:5])} must be set, to whole "
            "numbers (but MASTER_ADDR) with LOCAL_RANK <= RANK < WORLD_SIZE.",
            "torchrun sets all of them: torchrun --nproc-per-node 2 -m focuscli train ... "
            "For one process alone: unset RANK WORLD_SIZE LOCAL_RANK",
        )
    return ProcessGroup(rank, size, local_rank, local_size)


def join(process_group: ProcessGroup, *, timeout: timedelta = TIMEOUT) -> None:
    """Connect to the other processes, at least one, that torchrun has started; `leave` the group at the end.

    Raises:
        UsageError: two processes have the same rank, or another number of processes. WorkerLost: no others in reach.
    """
    import torch
    import torch.distributed as dist

    rank, size = process_group.rank, process_group.world_size
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    # torchrun's agent hosts the store; where processes are started by hand the main one does.
    hosts = process_group.is_main and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        shared = dist.TCPStore(host, port, size, is_master=hosts, timeout=timeout, wait_for_workers=False)
        # The agent's store outlives workers that torchrun --max-restarts starts anew.
        store = dist.PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", shared)
        _check_ranks(store, rank, size, timeout, hosts)
        # Tensors on the CPU (flags, pickled objects) go through gloo, those on GPUs through NCCL.
        gpus = torch.cuda.is_available() and dist.is_nccl_available()
        if gpus and process_group.local_rank < torch.cuda.device_count():
            torch.cuda.set_device(process_group.local_rank)
        backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=timeout)
    except RuntimeError as error:
        raise WorkerLost(
            f"Worker {rank} of {size} cannot reach the others at {host}:{port}: {one_line(error)}.",
            "All must be started together, and MASTER_ADDR:MASTER_PORT must be reachable and free.",
        ) from error


def leave() -> None:
    """Close the connections of this process, if there are any."""
    import torch.distributed as dist

    if dist.is_initialized():
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()


@contextlib.contextmanager
def lost_workers() -> Iterator[Any]:
    """Yield torch.distributed, and turn what it raises inside, when another process is gone, into `WorkerLost`."""
    import torch.distributed as dist

    try:
        yield dist
    except RuntimeError as error:
        # gloo raises plain RuntimeErrors, which name its source file.
        signs = ("gloo", "nccl", "connection closed", "connection reset", "broken pipe", "timed out")
        known = isinstance(error, dist.DistError) or any(sign in str(error).lower() for sign in signs)
        if not (dist.is_initialized() and known):
            raise
        raise WorkerLost(
            f"Another worker has gone (killed, out of memory, or failed) or no longer answers ({one_line(error)}).",
            "torchrun's own report names it.",
        ) from error


def _check_ranks(store: Any, rank: int, size: int, timeout: timedelta, hosts: bool) -> None:
    """Wait until all are there, each with its own rank: connecting them would wait for a missing rank for ever."""
    store.set(f"process-{store.add('processes', 1)}", f"RANK={rank} WORLD_SIZE={size}")
    seen: set[str] = set()
    for number in range(1, size + 1):
        store.wait([f"process-{number}"], timeout)
        found = store.get(f"process-{number}").decode()
        if found in seen or not found.endswith(f"={size}"):
            time.sleep(0.5 * hosts)  # the store is in this process, and the others have to read it too
            raise UsageError(
                f"The processes do not fit together: two have {found}, or others have another WORLD_SIZE than {size}.",
                "Start them with torchrun.",
            )
        seen.add(found)
