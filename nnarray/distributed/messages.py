"""Messages to a worker of a Dask cluster, through Dask's own connections: no port is opened for them."""

from __future__ import annotations

import pickle
import time
from collections.abc import Sequence
from importlib import metadata
from typing import Any

VERSION = metadata.version("nnarray")
OP = "nnarray"
"""The name of these messages among those that a worker handles."""
TRAININGS = "nnarray_trainings"
ALIVE, JOIN, LEAVE, ROWS = "alive", "join", "leave", "rows"


def install(dask_worker: Any) -> str:
    """Install the handler on a worker; returns its version."""
    trainings: dict[str, Any] = dask_worker.__dict__.setdefault(TRAININGS, {})

    async def answer(training: str, do: str, arguments: Sequence[Any]) -> Any:
        if do == ALIVE:
            if training in trainings:
                trainings[training].heard = time.monotonic()
            return True
        if do == ROWS:
            key, rows = arguments
            return dask_worker.data[key][rows] if key in dask_worker.data else None
        if do == JOIN:
            kind, *arguments = arguments
            if training in trainings:  # it was considered lost
                await trainings[training].leave()
            trainings[training] = kind(dask_worker, training)
        elif training not in trainings and do == LEAVE:
            return None
        elif training not in trainings:
            raise ConnectionError(f"worker {dask_worker.address} takes no part in this training")
        return await getattr(trainings[training], do)(*arguments)

    async def called(training: str, do: str, arguments: Sequence[Any]) -> dict[str, Any]:
        """The reply of a part in a training; errors are sent back."""
        from distributed.protocol.serialize import to_serialize

        try:
            return {"answer": to_serialize(await answer(training, do, arguments))}
        except Exception as error:
            return {"error": to_serialize(sendable(error))}

    dask_worker.handlers[OP] = called
    return VERSION


def sendable(error: BaseException) -> Exception:
    """The error without its cause, which may not be serialisable; as text if the error itself is not."""
    error.__cause__ = error.__context__ = None
    error = error.with_traceback(None)
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error if isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")


def install_everywhere(client: Any) -> None:
    """Install the handler on all workers, including later ones."""
    from distributed import WorkerPlugin

    class Installed(WorkerPlugin):
        name = OP

        def setup(self, worker: Any) -> None:
            install(worker)

    client.register_plugin(Installed())


async def asked(rpc: Any, address: str, training: str, do: str, *arguments: Any) -> Any:
    """The reply of the worker at an address.

    Raises
    ------
    ConnectionError
        If it takes no part in the training.
    Exception
        Errors that it raises.
    """
    from distributed.protocol.serialize import to_serialize

    answer = await getattr(rpc(address), OP)(training=training, do=do, arguments=to_serialize(arguments))
    if answer is None:
        raise ConnectionError(f"worker {address} takes no part in this training")
    if "error" in answer:
        raise answer["error"]
    return answer["answer"]
