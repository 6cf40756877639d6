"""Makes the schema tables that the embedded API server ships, from the sources of Kubernetes.

    python -m schemas.definitions DIRECTORY        > src/localkube/store/schemas/builtin.txt
    python -m schemas.messages MODULES VERSION     > src/localkube/store/schemas/messages.txt
    python -m schemas.snapshots DIRECTORY          > src/localkube/store/schemas/snapshots.jsonl

(with tools/ on PYTHONPATH, in an environment where this project is installed.) Run them again to follow a new version of Kubernetes.
"""
