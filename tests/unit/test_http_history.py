"""Histories are asked of another process, which may die at any moment."""

import socket
import threading

import pytest

from processors.history import HistoryUnavailableError, HttpHistory, RepairRequest


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf", b"nonsense\r\n"]
)
def test_an_answer_that_ends_early_is_asked_for_again(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        history = HttpHistory(f"http://127.0.0.1:{server.getsockname()[1]}", "a-token", timeout_s=5.0)
        with pytest.raises(HistoryUnavailableError):
            history.of(0, [RepairRequest(1, 2)], {})
        thread.join()
