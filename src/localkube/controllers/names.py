"""Names that the controllers show to the outside."""

from typing import Final

FIELD_MANAGER: Final = "datamover-controllers"
COMPONENT: Final = "datamover-controllers"

CLAIM_PROTECTION: Final = "kubernetes.io/pvc-protection"
VOLUME_PROTECTION: Final = "kubernetes.io/pv-protection"
