"""SIGTERM, SIGINT and SIGHUP as an event to wait for."""

import signal
import threading


def stopping_on_signals() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set, and SIGHUP unless `nohup` ignores it.

    A thread waits for them. A handler would run in the midst of whatever the main thread
    does, and wait for ever for the event's lock if that is what it interrupts.
    """
    stopping = threading.Event()
    signals = {signal.SIGTERM, signal.SIGINT}
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signals.add(signal.SIGHUP)
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)  # in all threads that are yet to start

    def wait() -> None:
        signal.sigwait(signals)
        stopping.set()

    threading.Thread(target=wait, name="signals", daemon=True).start()
    return stopping
