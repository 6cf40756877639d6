"""A repository behind rclone: restic starts it, so it has to be found, and its configuration is looked at as that of a mover with rclone is."""

import os

from datamover.agent.children import find_wrapper
from datamover.agent.errors import Misconfigured
from datamover.agent.rclone.configuration import Configuration, copy_configuration, read_configuration
from datamover.agent.rclone.process import Engine, find_engine
from datamover.agent.restic.settings import Settings
from datamover.agent.shell import Surroundings
from datamover.api import rclone_conf

_NAMED = f"The file that {rclone_conf.CONFIG} names"


def prepare(settings: Settings, given: Surroundings) -> tuple[dict[str, str], Surroundings]:
    """Return restic's environment with which rclone is found, and surroundings that know the secrets of its file. Raises AgentError."""
    variables = dict(settings.variables)
    search = variables.get("PATH")
    program = find_engine(settings.rclone, search=search)
    variables["PATH"] = os.pathsep.join((os.path.dirname(program), search or os.defpath))  # noqa: PTH120 - as everywhere in the agent
    if not settings.rclone_configuration:
        _check_place(settings, Configuration({}), variables)
        return variables, given
    # a copy: nobody changes what was looked at, and rclone may write to it when it renews a token
    copy = f"{given.scratch}/rclone.conf"
    copy_configuration(settings.rclone_configuration, copy, named=_NAMED)
    variables |= {rclone_conf.CONFIG: copy, "RCLONE_ASK_PASSWORD": "false"}
    engine = Engine(program, stop=given.stop, wrapper=find_wrapper(search=search), redact=given.redact)
    configuration = read_configuration(engine, environment=variables, named=_NAMED)
    if problems := configuration.problems():
        raise Misconfigured(f"{_NAMED} is not used: {'; '.join(problems)}.")
    _check_place(settings, configuration, variables)
    return variables, configuration.hide(given)


def _check_place(settings: Settings, configuration: Configuration, variables: dict[str, str]) -> None:
    """Raise Misconfigured for a place that does not last: a repository without rclone is held to the same."""
    if settings.contained:
        configuration.demand_lasting(settings.remote, variables)
