"""Starts groups of processes for tests as torchrun would, but by forking, so that torch is imported once for all of them.

Runs as a program: reads a job per line (JSON), answers with the exit codes. Tests use the fixture `workers`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback
from dataclasses import replace
from pathlib import Path

LIMIT_SECONDS = 120
BEFOREHAND = (
    "scipy.stats timm.scheduler.cosine_lr timm.utils.model_ema torch._dynamo torch.distributed.optim "
    "torch.utils.tensorboard focuscli.cli.eval focuscli.cli.index focuscli.cli.predict focuscli.cli.search "
    "focuscli.cli.train focuscli.evaluation.closed_set focuscli.engine.replicas focuscli.tools.gallery.index "
    "focuscli.tools.gallery.results focuscli.tools.gallery.search pyarrow.parquet duckdb focuscli.engine.run "
    "focuscli.models.vtb focuscli.models.poar focuscli.models.focus focuscli.inference.predict "
    "focuscli.inference.recognizer"
)
"""What the jobs import, and what that imports when it is first used."""


def main() -> None:
    for name in BEFOREHAND.split():
        importlib.import_module(name)
    for line in sys.stdin:
        print(json.dumps(run_job(json.loads(line))), flush=True)


def run_job(job: dict) -> list[int]:
    """Fork the workers, send the signal that the job asks for when its file is there, and wait for all."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = [start(job, rank, port) for rank in range(job["count"])]
    codes: dict[int, int] = {}
    deadline = time.monotonic() + LIMIT_SECONDS
    kill = job.get("kill")
    while len(codes) < len(children):
        if kill and Path(kill["when"]).exists():
            if children[kill["rank"]] not in codes:
                os.kill(children[kill["rank"]], kill["signal"])
            kill = None
        if time.monotonic() > deadline:
            for pid in children:
                if pid not in codes:
                    os.kill(pid, signal.SIGKILL)
        for pid in children:
            if pid not in codes and (found := os.waitpid(pid, os.WNOHANG))[0]:
                codes[pid] = os.waitstatus_to_exitcode(found[1])
        time.sleep(0.01)
    return [codes[pid] for pid in children]


def start(job: dict, rank: int, port: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        for number, kind in ((0, None), (1, "out"), (2, "err")):
            place = os.devnull if kind is None else f"{job['folder']}/{rank}.{kind}"
            os.dup2(os.open(place, os.O_RDWR | os.O_CREAT), number)
        if job["count"] > 1:
            size = str(job["count"])
            os.environ |= {"RANK": str(rank), "WORLD_SIZE": size, "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": size}
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
            os.environ["TORCHELASTIC_ERROR_FILE"] = f"{job['folder']}/{rank}.error"
        os.environ |= job["environment"]
        globals()[job["name"]](*job["arguments"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def focus(*arguments: str) -> None:
    """A command line."""
    from focuscli.cli.main import main

    sys.argv = ["focus", *arguments]
    main()


def train(folder: str, config: dict, dataset: str, last_step: int) -> None:
    """A run; the last process asks to stop at a step. The gradients of each step go to FOLDER/gradients-STEP."""
    import torch

    from focuscli.cli.processes import together
    from focuscli.config import RunConfig
    from focuscli.engine.run import Run

    with together() as group:
        run = Run(Path(folder), RunConfig.model_validate(config), Path(dataset), None, process_group=group)

        def keep(*_arguments: object) -> None:
            if group.is_main:
                gradients = {name: p.grad.clone() for p, name in run.trainer.names.items() if p.grad is not None}
                torch.save(gradients, f"{folder}/gradients-{run.trainer.step}")

        for part in run.trainer.optimizer.param_groups:
            part["eps"] = 1e-3  # well above the rounding of gradients, so that every single weight has to agree
        run.trainer.optimizer.register_step_pre_hook(keep)
        last = group.rank == group.world_size - 1
        for _ in run.train(lambda: last and run.trainer.step >= last_step):
            pass
        print(run.trainer.step)


def differing(changes: dict, *arguments: str) -> None:
    """A command line; `changes` has other environment variables for some ranks."""
    os.environ |= changes.get(os.environ["RANK"], {})
    focus(*arguments)


def broken(what: str, *arguments: str) -> None:
    """A command line; process 1 fails by itself where the others wait for it, or finds other data in the same place."""
    from focuscli.engine import run, trainer
    from focuscli.errors import InputError

    def fail(*_arguments: object, **_options: object) -> None:
        raise InputError("only here")

    if os.environ["RANK"] == "1":
        if what == "step":
            trainer.augment = fail
        else:
            read = run.read_folder
            run.read_folder = lambda path: replace(read(path), splits=read(path).splits[::-1])
    focus(*arguments)


def shot(rank: int, parts: int, *arguments: str) -> None:
    """A command line of which process `rank` is killed when it has written so many parts of a gallery."""
    from focuscli.tools.gallery.store import Part

    if os.environ["RANK"] == str(rank):
        write, written = Part.write, []

        def write_and_die(*given: object) -> None:
            write(*given)
            written.append(given)
            if len(written) == parts:
                os.kill(os.getpid(), signal.SIGKILL)

        Part.write = write_and_die
    focus(*arguments)


if __name__ == "__main__":
    main()
