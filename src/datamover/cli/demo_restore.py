"""The act of `datamover demo` about a restore: what is applied."""

from typing import Final

CLAIM: Final = "restored-data"
MANIFEST: Final = f"""\
apiVersion: datamover.a-cup-of.coffee/v1alpha1
kind: DataMoverRestore
metadata:
  name: back
spec:
  source:
    bucket:
      secretName: backup-credentials
  point: latest
  target:
    claimName: {CLAIM}
"""
