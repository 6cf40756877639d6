from localkube.store.expiry import Expiry


def test_what_was_touched_last_goes_last():
    expiry = Expiry(seconds=10)
    expiry.touch("n", "a", now=0)
    expiry.touch("n", "b", now=1)
    expiry.touch("n", "a", now=5)
    expiry.touch("n", "c", now=6)
    expiry.forget("n", "c")

    assert list(expiry.pop_due(now=10.9)) == []
    assert list(expiry.pop_due(now=11)) == [("n", "b")]
    assert list(expiry.pop_due(now=99)) == [("n", "a")]
    assert list(expiry.pop_due(now=99)) == []
