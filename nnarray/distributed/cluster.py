"""A Dask cluster: the connection to its scheduler, and ordered work on its workers."""

from __future__ import annotations

import importlib
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from nnarray.names import shown

T = TypeVar("T")
PATIENCE = 10.0  # seconds in which a scheduler must answer, and between two checks for workers
EACH = 2  # items in flight per thread of the workers, so that no thread waits


@dataclass(frozen=True)
class Cluster:
    """The workers of a Dask cluster, for `fit(..., cluster=...)`.

    Parameters
    ----------
    client : Client of Dask, or address of a scheduler
    backend : str, optional
        The backend of each worker, such as "cupy:0" if each worker sees its own GPU; None for the model's backend.
    exact : bool
        Whether to refuse workers whose processor or libraries round differently from the others: with them, the same
        training may give slightly different results.

    Examples
    --------
    >>> import nnarray as nn
    >>> nn.distributed.Cluster("tcp://10.0.0.1:8786", backend="cupy:0").exact
    True
    """

    client: Any
    backend: str | None = None
    exact: bool = True

    @contextmanager
    def connected(self) -> Generator[Cluster]:
        """The cluster with a client; a client that is made here is closed at the end."""
        client = client_of(self.client)
        with nullcontext() if client is self.client else client:
            yield replace(self, client=client)

    def trainer(self, model: Any, *arguments: Any, **settings: Any) -> Any:
        """The object that trains a model with these workers."""
        return importlib.import_module("nnarray.distributed.training").begun(self, model, *arguments, **settings)


def cluster_of(cluster: Any) -> Cluster:
    """A cluster; a client or an address becomes one."""
    return cluster if isinstance(cluster, Cluster) else Cluster(cluster)


@contextmanager
def connected(address: str) -> Generator[Any]:
    """A client of the scheduler at an address, such as "tcp://10.0.0.1:8786"; closed at the end.

    Encryption ("tls://...") follows Dask's own configuration. The client opens connections, and does not listen.

    Raises
    ------
    ImportError
        If Dask is not installed.
    ConnectionError
        If no scheduler answers, or it has no workers.
    """
    with client_of(address) as client:
        _refuse_empty(client)
        yield client


def client_of(cluster: Any) -> Any:
    """The given client, or a new client of the scheduler at an address.

    Raises
    ------
    ImportError
        If Dask is not installed.
    ConnectionError
        If no scheduler answers.
    TypeError
        If it is neither a client nor an address.
    """
    try:
        from dask.distributed import Client
    except ImportError as error:
        raise ImportError("a cluster needs Dask's scheduler; pip install 'nnarray[dask]'.") from error
    if isinstance(cluster, Client):
        if cluster.asynchronous:
            raise TypeError("a Client with asynchronous=True returns coroutines; make one without it.")
        return cluster
    if not isinstance(cluster, str):
        raise TypeError(f"cluster must be a Client of Dask or the address of a scheduler; got {shown(cluster)}.")
    try:
        return Client(cluster, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise ConnectionError(
            f"no Dask scheduler answers at {cluster!r} ({error}). Start one with `dask scheduler`, and workers with "
            f"`dask worker ADDRESS`; pass the address that it prints."
        ) from error


def in_order(
    client: Any, function: Callable[[Any, Any], Any], shared: Any, items: Iterable[T]
) -> Iterator[tuple[T, Any]]:
    """Each item with `function(shared, item)`, computed by the workers; `shared` is sent to each of them once.

    Results are in the order of the items; only few are in flight.

    Raises
    ------
    ConnectionError
        If all workers leave.
    Exception
        Errors of the function.
    """
    given = sent(client, shared)
    waiting: deque[tuple[T, Any]] = deque()
    try:
        for item in items:
            waiting.append((item, client.submit(function, given, item, pure=False)))
            if len(waiting) >= EACH * max(sum(client.nthreads().values()), 1):
                item, future = waiting.popleft()
                yield item, _awaited(client, future)
        while waiting:
            item, future = waiting.popleft()
            yield item, _awaited(client, future)
    finally:
        client.cancel([future for _, future in waiting])


def sent(client: Any, shared: Any) -> Any:
    """An object that many tasks need, as a future: unlike scattered data, it is computed again if its worker dies."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sending large graph")  # it is sent once
        return client.submit(_same, shared, pure=False)


def _same(shared: T) -> T:
    return shared


def _awaited(client: Any, future: Any) -> Any:
    """The result; waits for it as long as there are workers."""
    from dask.distributed import KilledWorker

    while True:
        try:
            return future.result(timeout=PATIENCE)
        except TimeoutError:
            if future.done():
                raise
            _refuse_empty(client)
        except KilledWorker as error:
            raise ConnectionError(
                f"several workers died at the same task ({error}). Give them more memory "
                f"(`dask worker --memory-limit`), and check their logs."
            ) from error


def _refuse_empty(client: Any) -> None:
    if not client.nthreads():
        address = client.scheduler.address
        raise ConnectionError(
            f"the Dask scheduler at {address!r} has no workers. Start some with `dask worker {address}`."
        )
