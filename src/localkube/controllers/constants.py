"""Names that the controllers show to the outside."""

from typing import Final

FIELD_MANAGER: Final = "localkube-controllers"
COMPONENT: Final = "localkube-controllers"

CLAIM_PROTECTION: Final = "kubernetes.io/pvc-protection"
VOLUME_PROTECTION: Final = "kubernetes.io/pv-protection"
