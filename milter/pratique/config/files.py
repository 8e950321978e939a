"""The keys of the two files, as pydantic models, and pydantic's errors in our words."""

from __future__ import annotations

import difflib
from datetime import timedelta
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from pratique.model import (
    DEFAULT_ACTIONS,
    DEFAULT_HEADER,
    LOOPBACK,
    Alignment,
    DnsSettings,
    Entry,
    Limits,
    Mode,
    Require,
    Settings,
    TrustedHosts,
    TrustedList,
)

from .document import ConfigError, Document, Place, Problem, shown
from .values import (
    Actions,
    Count,
    Date,
    Domain,
    Duration,
    Host,
    ListedAddress,
    Listen,
    Network,
    OffOrKeys,
    Servers,
    Signer,
    Text,
    header_name,
    socket_address,
    subject_prefix,
    worker_count,
)

# Keys of a later version: a file that has them is good, and is told that they do nothing here.
NOT_YET: tuple[tuple[str, ...], ...] = (("dns", "stale"),)

_DEFAULT_LIMITS = Limits()

M = TypeVar("M", bound=BaseModel)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SenderFile(_Model):
    """One entry of the trusted list."""

    name: Text | None = None
    domain: Domain
    addresses: Annotated[tuple[ListedAddress, ...], Field(min_length=1)]
    enabled: Annotated[bool, Field(strict=True)] = True
    require: Require = Require.ANY
    alignment: Alignment = Alignment.RELAXED
    networks: tuple[Network, ...] = ()
    signers: tuple[Signer, ...] = ()
    evidence_domains: tuple[Domain, ...] = ()
    selectors: tuple[Text, ...] = ()
    expires: Date | None = None
    owner: Text | None = None
    note: Text | None = None
    source: Text | None = None
    whole_domain: Annotated[bool, Field(strict=True)] = False
    actions: Actions = Field(default_factory=dict)

    def entry(self, sender: str) -> Entry:
        return Entry(
            id=sender,
            name=self.name or sender,
            domain=self.domain,
            addresses=self.addresses,
            require=self.require,
            alignment=self.alignment,
            networks=self.networks,
            signers=frozenset(self.signers),
            evidence_domains=frozenset(self.evidence_domains),
            expires=self.expires,
            actions=self.actions,
        )


class SendersFile(_Model):
    """trusted-senders.yaml"""

    senders: Annotated[dict[str, SenderFile], Field(min_length=1)]


class TrustedHostsFile(_Model):
    """Our other MX hosts."""

    networks: tuple[Network, ...]
    hosts: tuple[Host, ...]


class DnsFile(_Model):
    """How DNS is asked."""

    servers: Servers = ()
    timeout: Duration = timedelta(seconds=5)
    cache: Annotated[bool, Field(strict=True)] = True
    stale: Any = None  # see NOT_YET


class LimitsFile(_Model):
    """Bounds on what is read of a message."""

    header_size: Count = _DEFAULT_LIMITS.header_size
    header_fields: Count = _DEFAULT_LIMITS.header_fields
    from_size: Count = _DEFAULT_LIMITS.from_size
    signature_size: Count = _DEFAULT_LIMITS.signature_size
    signatures: Count = _DEFAULT_LIMITS.signatures
    signed_fields: Count = _DEFAULT_LIMITS.signed_fields


class LogFile(_Model):
    """How the log is written."""

    format: Literal["logfmt", "json"] = "logfmt"
    level: Literal["debug", "info", "warning", "error"] = "info"


class MetricsFile(_Model):
    """Where Prometheus finds us."""

    listen: Listen = ("127.0.0.1", 9894)


class ServiceFile(_Model):
    """pratique.yaml"""

    socket: Annotated[str, AfterValidator(socket_address)] = "unix:/var/spool/postfix/pratique/milter.sock"
    senders: Text = "trusted-senders.yaml"
    mode: Mode = Mode.ENFORCE
    actions: Actions = Field(default_factory=dict)
    authserv_id: Host | None = None
    authserv_ids: tuple[Host, ...] = ()
    header: Annotated[str, AfterValidator(header_name)] = DEFAULT_HEADER
    subject_tag: Annotated[str | None, BeforeValidator(subject_prefix)] = None
    strip_authentication_results: Annotated[bool, Field(strict=True)] = True
    local_networks: tuple[Network, ...] = LOOPBACK
    relays: tuple[Network, ...] = ()
    trusted_hosts: TrustedHostsFile | None = None
    local_domains: tuple[Domain, ...] = ()
    defer_for: Duration = timedelta(hours=4)
    clock_skew: Duration = timedelta(minutes=5)
    dns: DnsFile = DnsFile()
    limits: LimitsFile = LimitsFile()
    log: LogFile = LogFile()
    workers: Annotated[int | None, BeforeValidator(worker_count)] = None
    stop_timeout: Duration = timedelta(seconds=30)
    reload_on_change: Annotated[bool, Field(strict=True)] = False
    metrics: Annotated[MetricsFile | None, OffOrKeys] = None

    def settings(self, senders: TrustedList, warnings: tuple[str, ...] = ()) -> Settings:
        hosts = self.trusted_hosts
        return Settings(
            senders=senders,
            socket=self.socket,
            mode=self.mode,
            actions=dict(DEFAULT_ACTIONS) | self.actions,
            authserv_id=self.authserv_id,
            authserv_ids=frozenset(self.authserv_ids),
            header=self.header,
            subject_tag=self.subject_tag,
            strip_authentication_results=self.strip_authentication_results,
            local_networks=self.local_networks,
            relays=self.relays,
            trusted_hosts=TrustedHosts(hosts.networks, frozenset(hosts.hosts)) if hosts else TrustedHosts(),
            local_domains=frozenset(self.local_domains),
            defer_for=self.defer_for,
            clock_skew=self.clock_skew,
            dns=DnsSettings(self.dns.servers, self.dns.timeout.total_seconds(), self.dns.cache),
            limits=Limits(**self.limits.model_dump()),
            log_format=self.log.format,
            log_level=self.log.level,
            workers=self.workers,
            stop_timeout=self.stop_timeout,
            reload_on_change=self.reload_on_change,
            metrics=self.metrics.listen if self.metrics else None,
            warnings=warnings,
        )


# ---- pydantic's errors in our words ----------------------------------------------------------------


def validated(model: type[M], document: Document) -> M:
    """The file as a model. Raises ConfigError with every problem, in the order of the lines."""
    try:
        return model.model_validate({} if document.value is None else document.value)
    except ValidationError as invalid:
        # a list whose every item is wrong is also called too short
        errors = [e for e in invalid.errors() if not (e["type"] == "too_short" and e["input"])]
        problems = [_in_words(error, model, document) for error in errors]
        raise ConfigError(sorted(problems, key=lambda p: (p.line, p.column))) from None


def _in_words(error: Any, model: type[BaseModel], document: Document) -> Problem:
    place: Place = error["loc"]
    kind, found, context = error["type"], shown(error["input"]), error.get("ctx", {})
    match kind:
        case "extra_forbidden":
            known = _known_keys(model, place[:-1])
            near = difflib.get_close_matches(str(place[-1]), known, n=1, cutoff=0.6)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(known)}"
            return document.at(place, f"there is no such key: {hint}", of_key=True)
        case "missing":
            return document.at(place, "this key is missing", of_key=True)
        case "value_error":
            return document.at(place, f"found {found}: {context['error']}")
        case "enum" | "literal_error":
            expected = context["expected"].replace("'", "").replace(" or ", ", ")
            return document.at(place, f"found {found}: expected one of {expected}")
        case "too_short":
            return document.at(place, "found an empty list: expected at least one")
    expected = {
        "tuple_type": "a list, one line each beginning with `- `",
        "dict_type": "keys and values, indented below this line",
        "model_type": "keys and values",
        "model_attributes_type": "keys and values",
        "bool_type": "yes or no",
        "int_type": "a whole number",
        "string_type": "text; put it in quotes",
    }.get(kind, error["msg"].lower())
    return document.at(place, f"found {found}: expected {expected}")


def _known_keys(model: type[BaseModel], place: Place) -> list[str]:
    """The keys that may stand at a place of a file."""
    current: Any = model
    for step in place:
        if isinstance(current, type) and issubclass(current, BaseModel):
            current = current.model_fields[str(step)].annotation
        if get_origin(current) is not dict or step not in model.model_fields:
            models = [a for a in get_args(current) if isinstance(a, type) and issubclass(a, BaseModel)]
            current = models[0] if models else current
    return list(current.model_fields)
