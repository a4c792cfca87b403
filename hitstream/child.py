"""What every supervised process does first: end when the supervisor is gone."""

import os
import signal
import threading


def end_with_supervisor() -> None:
    """Under a supervisor, ask this process to stop when standard input ends (the supervisor died)."""
    if os.environ.get("HITSTREAM_SUPERVISED") != "1":
        return

    def wait_for_the_end() -> None:
        try:
            while os.read(0, 4096):
                pass
        except OSError:
            pass
        # Nothing is printed: the supervisor read this process's output, and writing to it now fails.
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait_for_the_end, daemon=True, name="supervisor-watch").start()
