"""The block differ: it makes one block device equal to another over any byte stream, and sends only what differs.

    sender                                    receiver
      hello: version, size, chunk, blank? ->
                                          <-  hello: version, its own size
                                          <-  hashes of one region after another
      data or zeros of what differs,
      end of the region                   ->
      end: digest of the whole device     ->
                                              fsync, read everything back
                                          <-  done: digest of what was read back, or refused: why

It is a protocol of datamover's own, of one version so far; no other program speaks it. `sending.send` and `receiving.receive` are the two
ends, each with a `wire.Channel`, which is two file descriptors.

Guarantees: a success means that both sides have compared the digest of the whole device after it was written and read back (law L4); a device that
holds nothing but zeros does not replace one that holds something (law L3); whatever the peer says is bounded in length, order and
place (law L11), and no more than a region is kept in memory.
Assumptions: nobody else writes to the destination meanwhile; it is held exclusively as far as the kernel can do so.
"""
