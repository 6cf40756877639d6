"""What rsync's log tells at the receiving end."""

import threading
from pathlib import Path

from datamover.agent.rsync.server_log import Log
from support.s3 import wait_for


def test_the_log_is_read_as_it_comes_and_dull_or_endless_lines_are_left_out(tmp_path: Path) -> None:
    said: list[str] = []
    pipe = str(tmp_path / "log")
    log = Log(pipe, say=said.append, changed=threading.Event(), module="data")
    head = "2026/11/29 19:03:20 [30598] "
    with open(pipe, "a", encoding="utf-8") as file:
        file.writelines(
            f"{head}{text}\n"
            for text in (
                "connect from localhost (127.0.0.1)",
                "rsync to data/ from localhost (127.0.0.1)",
                'rsync: [receiver] write failed on "x" (in data): No space left on device (28)',
                "sent 73 bytes  received 5001465 bytes  total size 5000007",
            )
        )
    wait_for(lambda: len(said) == 2)
    assert (log.transfer.connections, log.transfer.received, log.transfer.size) == (1, 5001465, 5000007)
    assert log.transfer.writing
    assert "No space left on device (28)" in log.trouble
    with open(pipe, "a", encoding="utf-8") as file:
        file.writelines(f"2026/11/29 19:03:21 [7] noise {number}\n" for number in range(2000))
        file.write(f"{head}rsync to data/ from localhost (127.0.0.1)\n")
    wait_for(lambda: not log.trouble)
    log.close()
    assert len(said) < 2 + 201
    assert said[-1] == "rsync: more lines of this connection are not shown"
