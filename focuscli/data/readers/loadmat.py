"""The child process in which a .mat file is read: `loadmat.py FILE BYTES SECONDS` writes its variables to stdout.

scipy's reader trusts lengths and types in the file: one damaged byte can end the process or take all memory. What is
handed over is a pickle of plain values only, see `plain`; imports nothing of this package.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
from typing import Any, BinaryIO

import numpy as np
import scipy.io


def plain(value: Any) -> Any:
    """Arrays as (dtype, shape, content): bytes of numbers and texts, a list of cells, a dict of a struct's fields."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items() if not name.startswith("__")}
    array = np.asarray(value)
    if array.dtype.names is not None:
        return "V", array.shape, {name: plain(array[name]) for name in array.dtype.names}
    if array.dtype.hasobject:
        return "O", array.shape, [plain(item) for item in array.ravel()]
    return array.dtype.str, array.shape, array.tobytes()


def limit(size: int, seconds: int) -> None:
    """Let this process take only so many more bytes, and so much CPU time; does nothing on Windows."""
    with contextlib.suppress(ImportError, OSError):
        import resource

        with open("/proc/self/statm") as status:
            size += int(status.read().split()[0]) * resource.getpagesize()
        for kind, wanted in ((resource.RLIMIT_AS, size), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0)):
            most = resource.getrlimit(kind)[1]
            wanted = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
            resource.setrlimit(kind, (wanted, most))


def main(file: str, size: int, seconds: int, output: BinaryIO) -> str | None:
    """Write the variables of a file, or return what is wrong with it."""
    limit(size, seconds)
    try:
        pickle.dump(plain(scipy.io.loadmat(file)), output, protocol=4)
    except MemoryError:
        return "it takes too much memory"
    except Exception as error:  # on a damaged file nearly anything
        return " ".join(str(error).split())[:200] or type(error).__name__
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.stdout.buffer))
