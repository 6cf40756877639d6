"""rsync through a TLS tunnel with a key that both sides have: `datamover-agent rsync-tls`.

    source                                       destination
      rsync -> stunnel (loopback) ==TLS==> stunnel -> rsync daemon, one for each connection
                                                        module `data`:    the volume
                                                        module `control`: a file `complete` ends the server

The wire format is another project's, so that either side may be its mover: a line `identity:key` in /keys/psk.txt, TLS 1.3, port 8000, those two
modules, and rsync's own protocol in them. The destination stores symbolic links munged while strangers write to it, and gives them their
own targets back when the source has said that it is done and nobody writes any more.

Guarantees: nothing is written for a peer without the key; the key is in no command line, log or outcome (law L8); an empty source does not empty
a destination (law L3); a destination has succeeded only when a source has said that everything was sent, and the data are on its disk (law L4).
"""
