"""The words around restic that the operator and the agent both use: variables of a repository Secret, names, places. Pure.

Only the standard library is imported, and nothing slow: the agent reads this at every start.
"""

from typing import Final

REPOSITORY: Final = "RESTIC_REPOSITORY"
PASSWORD: Final = "RESTIC_PASSWORD"  # noqa: S105 - the name of a variable
REQUIRED_KEYS: Final = (REPOSITORY, PASSWORD)
"""Keys that every repository Secret has."""

GOOGLE_CREDENTIALS: Final = "GOOGLE_APPLICATION_CREDENTIALS"
"""Key whose value is a key file of Google's. restic wants its path, so the key is mounted as a file."""
GOOGLE_CREDENTIALS_FOLDER: Final = "/credentials"
GOOGLE_CREDENTIALS_FILE: Final = "gcs.json"

BACKEND_KEYS: Final = (
    # S3
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "RESTIC_AWS_ASSUME_ROLE_ARN",
    "RESTIC_AWS_ASSUME_ROLE_SESSION_NAME",
    "RESTIC_AWS_ASSUME_ROLE_EXTERNAL_ID",
    "RESTIC_AWS_ASSUME_ROLE_POLICY",
    "RESTIC_AWS_ASSUME_ROLE_REGION",
    "RESTIC_AWS_ASSUME_ROLE_STS_ENDPOINT",
    # Swift, with the keys of its first and of its later interfaces
    "ST_AUTH",
    "ST_USER",
    "ST_KEY",
    "OS_AUTH_URL",
    "OS_REGION_NAME",
    "OS_USERNAME",
    "OS_USER_ID",
    "OS_PASSWORD",
    "OS_TENANT_ID",
    "OS_TENANT_NAME",
    "OS_USER_DOMAIN_NAME",
    "OS_USER_DOMAIN_ID",
    "OS_PROJECT_NAME",
    "OS_PROJECT_DOMAIN_NAME",
    "OS_PROJECT_DOMAIN_ID",
    "OS_TRUST_ID",
    "OS_APPLICATION_CREDENTIAL_ID",
    "OS_APPLICATION_CREDENTIAL_NAME",
    "OS_APPLICATION_CREDENTIAL_SECRET",
    "OS_STORAGE_URL",
    "OS_AUTH_TOKEN",
    "SWIFT_DEFAULT_CONTAINER_POLICY",
    # Backblaze B2
    "B2_ACCOUNT_ID",
    "B2_ACCOUNT_KEY",
    # Azure
    "AZURE_ACCOUNT_NAME",
    "AZURE_ACCOUNT_KEY",
    "AZURE_ACCOUNT_SAS",
    "AZURE_ENDPOINT_SUFFIX",
    # Google
    "GOOGLE_PROJECT_ID",
    # restic's own server
    "RESTIC_REST_USERNAME",
    "RESTIC_REST_PASSWORD",
    # how restic works, which changes nothing about what is in the repository for others
    "RESTIC_COMPRESSION",
    "RESTIC_PACK_SIZE",
    "RESTIC_READ_CONCURRENCY",
)
"""Keys of a repository Secret that reach restic, in the order in which a Job has them."""
RCLONE_PREFIX: Final = "RCLONE_"
"""Keys that begin so reach rclone, through which restic can use every store that rclone knows."""
PROXY_VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")

FORGET_OPTIONS: Final = "FORGET_OPTIONS"
DATA_DIR: Final = "DATA_DIR"
CACHE_DIR: Final = "RESTIC_CACHE_DIR"
RESTORE_AS_OF: Final = "RESTORE_AS_OF"
SELECT_PREVIOUS: Final = "SELECT_PREVIOUS"
RESTORE_OPTIONS: Final = "RESTORE_OPTIONS"
PRIVILEGED_MOVER: Final = "PRIVILEGED_MOVER"

DEFAULT_FORGET_OPTIONS: Final = "--keep-last 1"
DELETE_EXTRA_FILES: Final = "--delete"
"""What `enableFileDeletion` puts into `RESTORE_OPTIONS`."""
HOST: Final = "volsync"
"""The host name of all snapshots, whatever Pod made them: a repository that another one has begun goes on here, and the other way round."""

UNLOCK: Final = "unlock"
BACKUP: Final = "backup"
PRUNE: Final = "prune"
RESTORE: Final = "restore"
ACTIONS: Final = (UNLOCK, BACKUP, PRUNE, RESTORE)
