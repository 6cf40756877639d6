"""The engine that fills the disk of a DataVolume: blank, from a web or S3 server, from another claim.

    addresses, signing, proxies    where a URL leads and what a request says: pure
    trust, connection, answers     one request, watched while it waits
    download                       the whole of it, over many requests where it is cut
    checksum, formats, unpacking   what the bytes are
    clusters                       whether a qcow2 has all that its tables name
    disk                           where they go: a file or a device, read back
    inventory                      what an archive has put into a folder, read back
    raw, conversion, archive, copying, blank    the ways to fill it

Guarantees: what a server sends is bounded by the size of the disk before it is written, however it is packed; credentials go to the host that they
were given for and to no other; nothing is called a disk before it was written to the storage, read back and compared; what an earlier attempt has left
is begun anew.
Assumptions: nobody else writes to the volume meanwhile.
"""
