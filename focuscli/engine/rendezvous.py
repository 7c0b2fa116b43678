"""How the processes that torchrun has started meet."""

from __future__ import annotations

import os
import socket
import time
from datetime import timedelta
from typing import Any

from focuscli.engine.distributed import ProcessGroup, WorkerLost, brief
from focuscli.engine.torchrun import Worker
from focuscli.errors import UsageError

TIMEOUT = timedelta(minutes=10)
"""How long a process waits for another one in the middle of common work; one that has died is noticed at once."""
PATIENCE = timedelta(days=1)
"""The same before and after work that each does alone, such as encoding its shards: the slower one is not lost."""


def join(worker: Worker, *, timeout: timedelta = TIMEOUT) -> ProcessGroup:
    """Meet the other processes that torchrun has started; `leave` the group at the end.

    Raises:
        UsageError: two processes claim the same rank, or count differently. WorkerLost: the others cannot be reached.
    """
    if worker.size == 1:
        return ProcessGroup(worker)
    import torch
    import torch.distributed as dist

    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    # torchrun's agent keeps the store; where processes are started by hand the first one does.
    keeps = worker.is_main and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True"
    try:
        kept = dist.TCPStore(
            host, port, worker.size, is_master=keeps, timeout=timeout, wait_for_workers=False, multi_tenant=True
        )
        # The agent's store outlives workers that torchrun --max-restarts starts anew: what the last ones left is not for these.
        store = dist.PrefixStore(f"attempt-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", kept)
        own = dist.PrefixStore("focus", store)
        _roll_call(own, worker.rank, worker.size, timeout)
        # Tensors on the CPU (decisions, gathered objects) go through gloo, those on GPUs through NCCL.
        gpus = torch.cuda.is_available() and dist.is_nccl_available()
        if gpus and worker.local_rank < torch.cuda.device_count():
            torch.cuda.set_device(worker.local_rank)
        backend = "cpu:gloo,cuda:nccl" if gpus else "gloo"
        dist.init_process_group(backend, store=store, rank=worker.rank, world_size=worker.size, timeout=timeout)
        patient = dist.new_group(backend="gloo", timeout=max(timeout, PATIENCE))
    except RuntimeError as error:
        raise WorkerLost(
            f"Worker {worker.rank} of {worker.size} on {socket.gethostname()} cannot meet the others at {host}:{port}: "
            f"{brief(error)}.",
            "All must be started together, and MASTER_ADDR:MASTER_PORT must be reachable and free.",
        ) from error
    return ProcessGroup(worker, own, patient)


def _roll_call(store: Any, rank: int, size: int, timeout: timedelta) -> None:
    """Wait until all are there, each with a rank of its own; connecting them would wait for the missing one for ever.

    Raises:
        UsageError: two processes claim the same rank, or one counts others than this. RuntimeError: they have not all come
            in time.
    """
    first = int(store.compare_set("size", "", str(size)))
    if first != size:
        store.set("wrong", f"One process has WORLD_SIZE={first}, another one (RANK={rank}) WORLD_SIZE={size}.")
    elif store.add(f"rank-{rank}", 1) > 1:
        store.set("wrong", f"Two processes have RANK={rank}; each needs its own.")
    else:
        store.add("present", 1)
    deadline = time.monotonic() + timeout.total_seconds()
    while store.add("present", 0) < size:
        if store.check(["wrong"]):
            wrong = store.get("wrong").decode()
            if rank == 0:
                time.sleep(0.5)  # the store may live in this process, and the others have to read it too
            raise UsageError(wrong, "Start them with torchrun.")
        if time.monotonic() > deadline:
            raise RuntimeError(f"{store.add('present', 0)} of {size} have come")
        time.sleep(0.02)
