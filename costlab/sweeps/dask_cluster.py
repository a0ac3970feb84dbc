"""The workers of a Dask cluster: a connection with time limits and TLS, and one line for whatever is wrong with it."""

import contextlib
import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

from costlab.errors import CostlabError
from costlab.sweeps.pools import WorkerPool

WAIT = 20.0  # seconds for a scheduler to answer, and to have a worker
CLOSING = 2.0  # seconds to close a connection
TLS = ("ca", "cert", "key")


@contextlib.contextmanager
def dask_cluster(address: str, tls: Mapping[str, str | Path] | None = None) -> Iterator[WorkerPool]:
    """The workers of a Dask scheduler such as `tcp://host:8786`.

    Args:
        tls: PEM files of this client for a `tls://` address: "ca", "cert" and "key". Default: Dask's configuration.

    Raises:
        CostlabError: Dask is not installed, no scheduler answers, it has no workers, or a TLS file is not usable.
    """
    try:
        from distributed import TimeoutError as DaskTimeout
    except ImportError:
        raise CostlabError("Dask is not installed: pip install 'costlab[dask]'") from None
    with quiet("distributed"):
        client = connected(address, security_of(address, tls))
        try:
            client.wait_for_workers(1, timeout=WAIT)
            with dask_executor(client.get_executor(), client) as pool:
                yield pool
        except DaskTimeout:
            raise CostlabError(no_workers(address)) from None
        finally:
            with contextlib.suppress(OSError, DaskTimeout):
                client.close(timeout=CLOSING)


@contextlib.contextmanager
def dask_executor(executor: Executor, client: Any) -> Iterator[WorkerPool]:
    """The executor of a caller's own Dask client, which stays open and grows and shrinks with its cluster."""
    yield WorkerPool(executor, count_workers(client))


@contextlib.contextmanager
def quiet(library: str) -> Iterator[None]:
    """Keep what a library logs off the terminal; what matters of it becomes an error."""
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def security_of(address: str, tls: Mapping[str, str | Path] | None) -> Any:
    """Dask's `Security` for an address; None for one without TLS."""
    from distributed.security import Security

    scheme, separator, _ = address.partition("://")
    if separator and scheme not in ("tcp", "tls"):
        raise CostlabError(f"{address} is not the address of a Dask scheduler: use tcp://HOST:PORT or tls://HOST:PORT")
    if scheme != "tls" or not separator:
        if tls:
            raise CostlabError(f"{address} does not use TLS: give a tls:// address, or leave the TLS files out")
        return None
    if tls is not None and set(tls) != set(TLS):
        raise CostlabError(f"TLS takes three files: {', '.join(TLS)}; got {', '.join(tls) or 'none'}")
    files = {"tls_ca_file": tls["ca"], "tls_client_cert": tls["cert"], "tls_client_key": tls["key"]} if tls else {}
    try:
        security = Security(require_encryption=True, **{key: str(path) for key, path in files.items()})
        context = security.get_connection_args("client")["ssl_context"]
    except (OSError, ValueError) as error:
        raise CostlabError(f"the TLS files cannot be used: {message_of(error)}") from None
    if context is None:
        raise CostlabError(
            f"{address} needs TLS files: a CA, a certificate and a key (--tls-ca, --tls-cert, --tls-key)"
        )
    return security


def connected(address: str, security: Any) -> Any:
    """A client of a scheduler. Raises CostlabError if none answers in time, also where something else listens."""
    from distributed import Client

    answer: Future[Any] = Future()

    def connect() -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of versions: rows are checked for those that matter
                answer.set_result(Client(address, security=security, timeout=WAIT, set_as_default=False))
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=connect, daemon=True).start()
    try:
        return answer.result(WAIT + CLOSING)
    except (OSError, ValueError, TimeoutError) as error:
        why = message_of(error) or f"nothing heard in {WAIT:.0f} s"
        raise CostlabError(f"no Dask scheduler answers at {address}: {why}") from None


def message_of(error: BaseException) -> str:
    """The message of an error of a library, on one line."""
    return " ".join(str(error).split())[:200]


def count_workers(client: Any) -> Callable[[], int]:
    """How many threads the workers of a Dask cluster have, 1 while there are none.

    The function raises CostlabError if the scheduler no longer answers, or has had no workers for too long.
    """
    last = time.monotonic()

    def workers() -> int:
        nonlocal last
        try:
            threads = sum(client.nthreads().values())
        except (OSError, RuntimeError, ValueError, TimeoutError) as error:
            raise CostlabError(
                f"the Dask scheduler no longer answers; finished rows are safe: {message_of(error)}"
            ) from None
        if threads:
            last = time.monotonic()
        elif time.monotonic() - last > WAIT:
            raise CostlabError(f"{no_workers(client.scheduler.address)}; finished rows are safe")
        return max(1, threads)

    return workers


def no_workers(address: str) -> str:
    """The message for a scheduler without workers."""
    return (
        f"the Dask scheduler at {address} has had no workers for {WAIT:.0f} s: start some with `dask worker {address}`"
    )
