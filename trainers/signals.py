"""Remembers a signal that asks a run to stop, so that the loop can save first."""

import signal
import threading


class Signals:
    """Remembers the first SIGTERM or SIGINT; the second acts as before.

    Python delivers signals to the main thread only. A run in another thread gets none.

    Attributes:
      seen: the number of the signal, or 0.
    """

    def __enter__(self):
        self.seen = 0
        self._before = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                # None is a handler that Python did not install and cannot restore
                if signal.getsignal(number) is not None:
                    self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number, _):
        self.seen = number
        signal.signal(number, self._before[number])

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler)
