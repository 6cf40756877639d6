"""Sources that a worker imports: nothing at all (blank), a file of a web server, an object of an S3 store. Pure."""

from typing import Final

from datamover.api import importer as words
from datamover.api import reasons
from datamover.movers.importer import Import, build_job
from datamover.reconcilers.datavolume.ask import Ask, Kind
from datamover.reconcilers.datavolume.facts import Facts
from datamover.reconcilers.datavolume.filling import IMPORT, Filling, Place
from datamover.runs.facts import Unread
from datamover.volumes.binding import Obstacle
from kubekit.words.core import SecretKeys
from kubekit.words.meta import Manifest

_KEYS: Final = (words.SECRET_KEY_ID, words.SECRET_KEY_SECRET)


def fill_by_import(ask: Ask, facts: Facts) -> Filling | Obstacle:
    """Return how the claim is filled, or what is missing for it. What is not known yet, or must not be read, its Pod finds out."""
    lack = _find_lack(ask, facts)
    if lack is not None:
        return lack
    scheduled, running = IMPORT

    def build(place: Place) -> Manifest:
        settings = place.settings
        return build_job(
            place.owner,
            _import_of(ask, place),
            name=place.job,
            image=settings.mover_image,
            pull_policy=settings.mover_pull_policy,
            defaults=settings.mover_defaults,
        )

    return Filling(scheduled, running, build)


def _import_of(ask: Ask, place: Place) -> Import:
    http, s3 = ask.source.http, ask.source.s3
    found = http or s3
    config = place.config
    preallocation = ask.spec.preallocation if ask.spec.preallocation is not None else config and config.preallocation
    return Import(
        source=ask.kind.value,
        run_id=place.run_id,
        claim=place.claim,
        size=place.wanted.target,
        block=place.wanted.block,
        content_type=ask.content,
        preallocation=bool(preallocation),
        url=found.url if found is not None else "",
        secret=(found.secret_ref or "") if found is not None else "",
        certificates=(found.cert_config_map or "") if found is not None else "",
        headers=(http.extra_headers or ()) if http is not None else (),
        secret_headers=(http.secret_extra_headers or ()) if http is not None else (),
        checksum=(http.checksum or "") if http is not None else "",
        any_certificate=bool(http is not None and http.insecure_skip_verify),
        account=ask.spec.service_account_name or "",
        priority_class=ask.spec.priority_class_name or "",
        environment=place.settings.environment,
        deadline_seconds=place.settings.deadline,
    )


def _find_lack(ask: Ask, facts: Facts) -> Obstacle | None:
    found = ask.source.http or ask.source.s3
    credentials = found.secret_ref if found is not None else None
    for name, secret in facts.secrets.items():
        if secret is Unread.MISSING:
            return Obstacle(
                reasons.SECRET_NOT_FOUND, f"Secret {name} does not exist in this namespace: create it", waits=True
            )
        if name == credentials and isinstance(secret, SecretKeys):
            missing = [key for key in _KEYS if key not in (*secret.keys, *secret.empty)]
            if missing:
                message = f"Secret {name} has no key {' and no key '.join(missing)}: add what is missing; an empty one counts as none"
                return Obstacle(reasons.SECRET_KEY_MISSING, message, waits=True)
    for name, config_map in facts.config_maps.items():
        if config_map is Unread.MISSING:
            message = f"ConfigMap {name} does not exist in this namespace: create it, with certificates as its values"
            return Obstacle(reasons.SECRET_NOT_FOUND, message, waits=True)
    return None


FILLERS: Final = {Kind.BLANK: fill_by_import, Kind.HTTP: fill_by_import, Kind.S3: fill_by_import}
