"""The source `upload`: a worker that waits for its bytes, the Service before it, and the Secret with which tokens are made. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from datamover.api import importer as words
from datamover.api import names, upload
from datamover.movers.importer import Import, build_job
from datamover.movers.replication import secret_mount
from datamover.movers.service import build_service
from datamover.plans.steps import Create
from datamover.reconcilers.datavolume.ask import Ask
from datamover.reconcilers.datavolume.facts import Facts
from datamover.reconcilers.datavolume.filling import UPLOAD, Filler, Filling, Place
from datamover.reconcilers.datavolume.order import owner_of
from kubekit.words.core import SECRET_METAS, SERVICES, PersistentVolumeClaim
from kubekit.words.meta import Manifest, Resource

MakeKeys = Callable[[tuple[str, ...]], Mapping[str, bytes]]
"""Makes what the Secret of an upload holds, with a certificate for these names; injected, for it is chance."""

SELECTOR: Final = f"{names.GROUP}/upload"
"""Label of the worker's Pod by which its Service finds it. The value is the DataVolume's UID."""
CHILDREN: Final[tuple[Resource[Any], ...]] = (SECRET_METAS, SERVICES)


def fill_by_upload(make_keys: MakeKeys) -> Filler:
    """Return the filler."""

    def fill(ask: Ask, facts: Facts) -> Filling:
        scheduled, running = UPLOAD
        uid, namespace = facts.volume.metadata.uid, ask.namespace
        return Filling(
            scheduled,
            running,
            lambda place: _build(ask, place, uid),
            steps=_missing(facts, facts.claim, uid, namespace, make_keys),
            endless=True,
        )

    return fill


def _build(ask: Ask, place: Place, uid: str) -> Manifest:
    name, settings = upload.name_of(uid), place.settings
    tls = [{"key": key, "path": key} for key in (upload.CERTIFICATE, upload.PRIVATE_KEY)]
    asked = Import(
        source=words.UPLOAD,
        run_id=place.run_id,
        claim=place.claim,
        size=place.wanted.target,
        block=place.wanted.block,
        content_type=ask.content,
        preallocation=bool(ask.spec.preallocation),
        account=ask.spec.service_account_name or "",
        priority_class=ask.spec.priority_class_name or "",
        environment=(
            *settings.environment,
            {"name": upload.UID, "value": uid},
            # who waits has no end, but an upload that has begun has one
            {"name": upload.LIMIT, "value": f"{settings.deadline or upload.DEFAULT_LIMIT:g}"},
        ),
        mounts=(
            secret_mount("tls", words.TLS_PATH, name, items=tls),
            secret_mount("token", words.TOKEN_PATH, name, items=[{"key": upload.KEY, "path": upload.KEY}]),
        ),
        labels=((SELECTOR, uid),),
    )
    return build_job(
        place.owner,
        asked,
        name=place.job,
        image=settings.mover_image,
        pull_policy=settings.mover_pull_policy,
        defaults=settings.mover_defaults,
    )


def _missing(
    facts: Facts, claim: PersistentVolumeClaim | None, uid: str, namespace: str, make_keys: MakeKeys
) -> tuple[Create, ...]:
    """Return what makes the Secret and the Service, as far as they are not there. The key is made once, and stays for all attempts."""
    if claim is None:
        return ()
    owner, name = owner_of(claim), upload.name_of(uid)
    there = {resource.kind for resource, child in facts.belongings if owner.owns(child)}
    secret: Manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": owner.child(name, component=names.COMPONENT_MOVER),
        "type": "Opaque",
    }
    service = build_service(
        owner,
        name=name,
        port_name="https",
        port=upload.SERVICE_PORT,
        target_port=words.UPLOAD_PORT,
        selector={SELECTOR: uid},
        annotations={},
    )
    steps = (
        Create(SECRET_METAS, secret, secret=lambda: make_keys(upload.hosts_of(uid, namespace))),
        Create(SERVICES, service),
    )
    return tuple(step for step in steps if step.resource.kind not in there)
