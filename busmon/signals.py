"""SIGTERM, SIGINT and SIGHUP as an event to wait for."""

import signal
import threading


def stopping_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set; SIGHUP too, unless `nohup` ignores it.

    A thread waits for the signals. A handler would interrupt the main thread, and would hang
    if the main thread held the lock of the event.
    """
    stopping = threading.Event()
    signals = {signal.SIGTERM, signal.SIGINT}
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signals.add(signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # also in all threads that start later

    def wait() -> None:
        try:
            signal.sigwait(signals)
        finally:  # a process that no signal can end is to end now
            stopping.set()

    threading.Thread(target=wait, name="signals", daemon=True).start()
    return stopping
