"""The importer as a server: somebody sends the bytes.

    requests   what a client says and is answered, as HTTP/1.1: pure
    wire       one connection, read within limits
    body       the bytes of one upload, with their checksum
    receiver   who may send, and one at a time

Guarantees: nothing is read of a body before the token is proved; one upload at a time; one that is cut, or whose checksum differs, is never called
complete; everything that comes from a client is bounded, in size and in time.
Assumptions: one connection is one request, so that no proxy and we can differ in where one ends.
"""
