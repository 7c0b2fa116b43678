"""Starts groups of processes for tests as torchrun would, but by forking, so that torch is imported once for all of them.

Runs as a program: reads a job per line (JSON), answers with the exit codes. Tests use the fixture `workers`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import signal
import socket
import sys
import time
import traceback
from pathlib import Path

LIMIT_SECONDS = 120
BEFOREHAND = (
    "scipy.stats",
    "timm.scheduler.cosine_lr",
    "timm.utils.model_ema",
    "torch._dynamo",
    "torch.distributed.optim",
    "torch.utils.tensorboard",
    "focuscli.cli.eval",
    "focuscli.cli.index",
    "focuscli.cli.predict",
    "focuscli.cli.search",
    "focuscli.cli.train",
    "focuscli.evaluation.closed_set",
    "focuscli.engine.replicas",
    "focuscli.tools.gallery.index",
    "focuscli.tools.gallery.results",
    "focuscli.tools.gallery.scan",
    "pyarrow.parquet",
    "duckdb",
    "focuscli.engine.run",
    "focuscli.models.vtb",
    "focuscli.models.poar",
    "focuscli.models.focus",
    "focuscli.inference.predict",
    "focuscli.inference.recognizer",
)
"""What the jobs import, and what that imports when it is first used."""


def main() -> None:
    for name in BEFOREHAND:
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


@contextlib.contextmanager
def joined():
    from focuscli.engine.distributed import join, leave, read_environment

    process_group = read_environment()
    join(process_group)
    try:
        yield process_group
        process_group.any(False)
    finally:
        leave()


def train(
    folder: str, config: dict, dataset: str, stop_after: int | None, stopper: int, eps: float | None = None
) -> None:
    """A run; process `stopper` asks to stop after so many steps. The gradients of each step go to FOLDER/gradients-STEP.

    `eps`: AdamW's, in place of the recipe's.
    """
    import torch

    from focuscli.config import RunConfig
    from focuscli.engine.run import Run

    with joined() as process_group:
        run = Run(Path(folder), RunConfig.model_validate(config), Path(dataset), None, process_group=process_group)

        def keep(*_arguments: object) -> None:
            if process_group.is_main:
                gradients = {name: p.grad.clone() for p, name in run.trainer.names.items() if p.grad is not None}
                torch.save(gradients, f"{folder}/gradients-{run.trainer.step}")

        for part in run.trainer.optimizer.param_groups:
            part["eps"] = part["eps"] if eps is None else eps
        run.trainer.optimizer.register_step_pre_hook(keep)
        start = run.trainer.step

        def stop() -> bool:
            return process_group.rank == stopper and stop_after is not None and run.trainer.step - start >= stop_after

        for _ in run.train(stop):
            pass
        print(run.trainer.step)


def gather(folder: str) -> None:
    """Each process's gradient of a loss over all rows, of which process 0 has the first two, and so on."""
    import torch

    from focuscli.engine.replicas import gather_rows

    with joined() as process_group:
        every = torch.arange(4.0 * process_group.world_size, dtype=torch.float64).reshape(-1, 2) / 7
        rows = every[2 * process_group.rank : 2 * process_group.rank + 2].clone().requires_grad_()
        loss = all_pairs(gather_rows(rows))
        loss.backward()
        torch.save((loss.detach(), rows.grad), f"{folder}/{process_group.rank}")


def all_pairs(rows):
    """A loss in which every row meets every other one."""
    return (rows @ rows.T).sin().square().sum()


def agree(folder: str) -> None:
    """What each process gets from the others."""
    from focuscli.errors import InputError

    def refuse() -> None:
        raise InputError("not this", "but that")

    with joined() as process_group:
        found = {
            "decided": process_group.broadcast(lambda: process_group.rank + 10),
            "collected": process_group.all_gather({"rank": process_group.rank}),
            "any": [process_group.any(process_group.rank == 1), process_group.any(False)],
            "part": process_group.shard(list(range(7))),
        }
        try:
            process_group.broadcast(refuse)
        except InputError as error:
            found["refused"] = [error.problem, error.hint]
    Path(folder, str(process_group.rank)).write_text(json.dumps(found))


def scores(run: str, dataset: str, folder: str) -> None:
    """Scores of a dataset's images in batches of ten; each process keeps what it gets."""
    import numpy as np

    from focuscli.data.folder import read_folder
    from focuscli.inference.recognizer import Recognizer

    with joined() as process_group:
        recognizer = Recognizer.from_checkpoint(run).with_process_group(process_group)
        data = read_folder(Path(dataset))
        paths = [data.image_path(index) for index in range(len(data.labels))]
        found = recognizer.score_files(paths, recognizer.attributes, batch_size=10)
        np.save(f"{folder}/{process_group.rank}-of-{process_group.world_size}", found)


def same_rank() -> None:
    """Three processes, two of which have rank 1."""
    os.environ["RANK"] = os.environ["LOCAL_RANK"] = str(min(1, int(os.environ["RANK"])))
    focus("predict", "nothing.png")


def other_size() -> None:
    """Two processes of which the second counts three."""
    if os.environ["RANK"] == "1":
        os.environ["WORLD_SIZE"] = "3"
        os.environ.pop("LOCAL_WORLD_SIZE")
    focus("predict", "nothing.png")


def restarted(dataset: str, run: str, *options: str) -> None:
    """Train in the way of torchrun --max-restarts, whose store outlives the workers: process 1 is killed, then all run again."""
    import torch.distributed as dist

    rank, port = int(os.environ["RANK"]), int(os.environ["MASTER_PORT"])
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    keeper = dist.TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False) if rank == 0 else None
    for attempt in range(2):
        os.environ["TORCHELASTIC_RESTART_COUNT"] = str(attempt)
        if not os.fork():
            if attempt == 0 and rank == 1:
                from focuscli.engine import trainer as module

                module.augment = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
            try:
                focus("train", "--dataset", dataset, *options, "--resume", "--run-folder", run)
            except SystemExit as end:
                os._exit(int(end.code or 0))  # the thread of the store is not in this process, and could not be joined
        _, status = os.wait()
    del keeper
    sys.exit(os.waitstatus_to_exitcode(status))


def other_data(dataset: str, folder: str, *options: str) -> None:
    """Train, process 1 on a copy of the dataset whose labels differ."""
    if os.environ["RANK"] == "1":
        other = Path(folder, "copy")
        shutil.copytree(dataset, other)
        labels = other / "labels.csv"
        labels.write_text(labels.read_text().replace("train", "val", 1))
        dataset = str(other)
        from focuscli.cli import train as module

        module.paths.resolve_dataset = lambda _name: other
    focus("train", "--dataset", dataset, *options, "--run-folder", f"{folder}/run")


def broken(dataset: str, folder: str, *options: str) -> None:
    """Train; process 1 fails by itself where the others wait for it."""
    if os.environ["RANK"] == "1":
        from focuscli.engine import trainer as module
        from focuscli.errors import InputError

        def fail(*_arguments: object, **_options: object) -> None:
            raise InputError("only here")

        module.augment = fail
    focus("train", "--dataset", dataset, *options, "--run-folder", f"{folder}/run")


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
