import os

from datamover.velero.parent import ParentWatch


def test_a_parent_that_lives_and_reads_is_not_gone():
    read, write = os.pipe()
    watch = ParentWatch((write,), lambda: None)
    assert not watch.gone()
    os.close(read)
    os.close(write)


def test_nobody_reads_any_of_the_outputs_any_more():
    pipes = [os.pipe(), os.pipe()]
    watch = ParentWatch(tuple(write for _, write in pipes), lambda: None)
    os.close(pipes[0][0])
    assert not watch.gone()  # one of them is still read
    os.close(pipes[1][0])
    assert watch.gone()
    for _, write in pipes:
        os.close(write)


def test_outputs_that_are_no_pipes_say_nothing(tmp_path):
    with (tmp_path / "log").open("wb") as file:
        assert not ParentWatch((file.fileno(), -1), lambda: None).gone()
