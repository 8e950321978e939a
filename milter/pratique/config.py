"""The two YAML files to frozen settings, or to errors that say what to write instead.

Rules of this module: the only one that imports yaml and pydantic. Everything up to `load` is pure: text in,
settings or problems out. Every problem names file, line, column, key, what was found and what would be right;
all problems of a file are told at once.
"""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar, get_args, get_origin

import yaml
from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from .mailbox import UnreadableError, to_a_labels
from .model import (
    DEFAULT_ACTIONS,
    DEFAULT_HEADER,
    LOOPBACK,
    Action,
    Alignment,
    DnsSettings,
    Entry,
    IPNetwork,
    Limits,
    Mode,
    Require,
    Settings,
    TrustedHosts,
    TrustedList,
    Verdict,
    ascii_lower,
    is_within,
)

# Keys of a later version: a file that has them is good, and is told that they do nothing here.
NOT_YET: tuple[tuple[str, ...], ...] = (("workers",), ("stop_timeout",), ("metrics",), ("dns", "stale"))

DEFAULT_CONFIG = Path("/etc/pratique/pratique.yaml")

# Whoever is a customer of these can sign as them: such a signature says nothing of the platform.
SHARED_SIGNERS = frozenset(
    {
        *("amazonses.com", "brevo.com", "brevosend.com", "gappssmtp.com", "gmail.com", "mailgun.org", "mailjet.com"),
        *("mandrillapp.com", "mcdlv.net", "mcsv.net", "mtasv.net", "onmicrosoft.com", "outlook.com"),
        *("postmarkapp.com", "sendgrid.info", "sendgrid.net", "sendinblue.com", "smtp2go.com", "sparkpostmail.com"),
    }
)
_SHOWN = 60  # characters of a value found

_DEFAULT_LIMITS = Limits()

_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp")}

Place = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Problem:
    """One error in a file; line and column count from 1."""

    file: str
    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.text}"


class ConfigError(Exception):
    """A file that cannot be used; one problem a line."""

    def __init__(self, problems: list[Problem] | str):
        self.problems = problems if isinstance(problems, list) else []
        super().__init__(problems if isinstance(problems, str) else "\n".join(map(str, problems)))


# ---- YAML with the place of every value ------------------------------------------------------------


class _Mark(Protocol):
    """A place in a file: line and column count from 0."""

    line: int
    column: int


class Document:
    """A YAML file as plain values, and where in the text each of them stands."""

    def __init__(self, text: str, file: str):
        self.file = file
        self.problems: list[Problem] = []
        self._marks: dict[Place, _Mark] = {}
        self._keys: dict[Place, _Mark] = {}
        self.value: Any = None
        try:
            for event in yaml.parse(text, yaml.SafeLoader):
                if isinstance(event, yaml.AliasEvent):
                    self._problem(event.start_mark, f"found the alias *{event.anchor}: write the value out")
            node = None if self.problems else yaml.compose(text, yaml.SafeLoader)
        except yaml.MarkedYAMLError as problem:
            self._problem(problem.problem_mark, f"no YAML: {problem.problem}")
        except yaml.YAMLError as problem:
            self._problem(None, "no YAML: " + " ".join(str(problem).split()))
        except RecursionError:
            self._problem(None, "no YAML for us: nested too deeply")
        else:
            self.value = self._build(node, ()) if node else None
        if self.problems:
            raise ConfigError(self.problems)

    def _problem(self, mark: _Mark | None, text: str) -> None:
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        self.problems.append(Problem(self.file, line, column, text))

    def _build(self, node: yaml.Node, place: Place) -> Any:
        self._marks[place] = node.start_mark
        if isinstance(node, yaml.SequenceNode):
            return [self._build(item, (*place, i)) for i, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return dict(self._pairs(node, place))
        if node.tag not in _TAGS:
            self._problem(node.start_mark, f"found the tag {node.tag}: write a plain value")
            return None
        try:
            return yaml.constructor.SafeConstructor().construct_object(node)
        except (ValueError, yaml.YAMLError):
            self._problem(
                node.start_mark, f"found {_shown(node.value)}: not a value that YAML can read; put it in quotes"
            )
            return None

    def _pairs(self, node: yaml.MappingNode, place: Place) -> Iterator[tuple[str, Any]]:
        seen: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._problem(key.start_mark, "found a key that is no plain word")
                continue
            if key.value in seen:
                self._problem(
                    key.start_mark, f"{key.value}: the key is there twice, first in line {seen[key.value]}: keep one"
                )
                continue
            seen[key.value] = key.start_mark.line + 1
            self._keys[(*place, key.value)] = key.start_mark
            yield key.value, self._build(value, (*place, key.value))

    def __contains__(self, place: Place) -> bool:
        return place in self._keys

    def at(self, place: Place, text: str, of_key: bool = False) -> Problem:
        """A problem at the value of a place, or at its key; where that is not in the file, at what holds it."""
        marks = self._keys if of_key else self._marks
        shown = ".".join(str(p) if isinstance(p, str) else f"[{p + 1}]" for p in place).replace(".[", "[")
        while place and place not in marks:
            place = place[:-1]
        mark = marks.get(place) or self._marks.get(place)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return Problem(self.file, line, column, f"{shown}: {text}" if shown else text)


def _shown(value: Any) -> str:
    """A value as an error quotes it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return f"the truth value {'yes' if value else 'no'}"
    if isinstance(value, dict | list):
        return "a list" if isinstance(value, list) else "keys and values"
    text = str(value)
    if not text.isprintable():
        text = text.encode("unicode_escape").decode("ascii")
    return f'"{text[:_SHOWN]}…"' if len(text) > _SHOWN else f'"{text}"'


# ---- values ----------------------------------------------------------------------------------------

_DURATION = re.compile(r"(\d{1,6})(s|m|h|d)")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _duration(value: Any) -> timedelta:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("expected a time such as 30s, 5m, 4h or 2d")
    return timedelta(seconds=int(match[1]) * _UNITS[match[2]])


def _domain(value: Any) -> str:
    try:
        name = to_a_labels(value) if isinstance(value, str) else ""
    except UnreadableError:
        name = ""
    if "." not in name or "_" in name:
        raise ValueError("expected a domain such as example.org")
    return name


def _host(value: Any) -> str:
    try:
        return to_a_labels(value) if isinstance(value, str) else _domain(value)
    except UnreadableError:
        raise ValueError("expected a host name such as mx1.example.org") from None


def _network(value: Any) -> IPNetwork:
    try:
        return ipaddress.ip_network(value if isinstance(value, str) else "")
    except ValueError:
        wider = "; a network starts at its first address" if "/" in str(value) else ""
        raise ValueError(f"expected an address or network such as 192.0.2.0/24{wider}") from None


def _address(value: Any) -> tuple[str, str]:
    """(local part in lower case, domain); `*` in the local part stands for any characters."""
    local, at, domain = value.rpartition("@") if isinstance(value, str) else ("", "", "")
    try:
        if not at:
            raise ValueError
        name = _domain(domain)
        validate_email(f"{local.replace('*', 'x')}@{name}", check_deliverability=False)
    except (ValueError, EmailNotValidError):
        raise ValueError("expected an address such as notices@example.org") from None
    return ascii_lower(local), name


def _server(value: Any) -> tuple[str, int]:
    text = value if isinstance(value, str) else ""
    match = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\](?::(\d{1,5}))?|([0-9.]+)(?::(\d{1,5}))?|([0-9A-Fa-f:]+)", text)
    try:
        if match is None:
            raise ValueError
        address = ipaddress.ip_address(match[1] or match[3] or match[5])
        port = int(match[2] or match[4] or 53)
        if not 0 < port < 65536:
            raise ValueError
    except ValueError:
        raise ValueError('expected "resolv.conf" or addresses such as "127.0.0.1:5353"') from None
    return str(address), port


def _servers(value: Any) -> tuple[tuple[str, int], ...]:
    if value == "resolv.conf":
        return ()
    if not isinstance(value, list) or not value:
        raise ValueError('expected "resolv.conf" or a list of addresses such as ["127.0.0.1:5353"]')
    return tuple(map(_server, value))


def _socket(value: str) -> str:
    port = re.fullmatch(r"inet6?:(\d{1,5})(?:@[0-9A-Za-z.:_-]+)?", value)
    if not re.fullmatch(r"(unix|local):/[^\0]*[^/\0]", value) and not (port and 0 < int(port[1]) < 65536):
        raise ValueError("expected a socket such as unix:/run/pratique/milter.sock or inet:8894@127.0.0.1")
    return value


def _header(value: str) -> str:
    if not re.fullmatch(r"X-[A-Za-z0-9-]{1,60}", value):
        raise ValueError(f"expected a field name that begins with X-, such as {DEFAULT_HEADER}")
    return value


def _subject_tag(value: Any) -> str | None:
    if value is None or value is False:
        return None
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or len(value) > 40:
        raise ValueError('expected off, or a short text in ASCII such as "[not verified]"')
    return value


def _signer(value: Any) -> str:
    domain = _domain(value)
    if any(is_within(domain, shared) for shared in SHARED_SIGNERS):
        raise ValueError("any customer of this provider can sign as it: expected a domain that only the platform uses")
    return domain


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("expected text; put it in quotes")
    return value


def _date(value: Any) -> date:
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        value = date.fromisoformat(value)
    if type(value) is not date:
        raise ValueError("expected a date such as 2027-12-31")
    return value


def _actions(value: Any) -> dict[Verdict, Action]:
    verdicts = [v for v in Verdict if v not in (Verdict.VERIFIED, Verdict.UNCHECKED)]
    chosen = [a for a in Action if a is not Action.NONE]
    if not isinstance(value, dict):
        raise ValueError("expected lines such as `unverified: quarantine`")
    for verdict, action in value.items():
        if verdict == Verdict.VERIFIED:
            raise ValueError("verified mail is tagged, and that cannot be changed: expected another verdict")
        if verdict not in verdicts:
            raise ValueError(f"there is no verdict {_shown(verdict)} here: expected one of {', '.join(verdicts)}")
        if action not in chosen:
            raise ValueError(f"{verdict}: found {_shown(action)}: expected one of {', '.join(chosen)}")
    return {Verdict(verdict): Action(action) for verdict, action in value.items()}


Duration = Annotated[timedelta, BeforeValidator(_duration)]
Domain = Annotated[str, BeforeValidator(_domain)]
Host = Annotated[str, BeforeValidator(_host)]
Network = Annotated[Any, BeforeValidator(_network)]
ListedAddress = Annotated[tuple[str, str], BeforeValidator(_address)]
Text = Annotated[str, BeforeValidator(_text)]
Actions = Annotated[dict[Verdict, Action], BeforeValidator(_actions)]
Count = Annotated[int, Field(strict=True, ge=1, le=1 << 30)]


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
    signers: tuple[Annotated[str, BeforeValidator(_signer)], ...] = ()
    evidence_domains: tuple[Domain, ...] = ()
    selectors: tuple[Text, ...] = ()
    expires: Annotated[date, BeforeValidator(_date)] | None = None
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

    servers: Annotated[tuple[tuple[str, int], ...], BeforeValidator(_servers)] = ()
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


class ServiceFile(_Model):
    """pratique.yaml"""

    socket: Annotated[str, AfterValidator(_socket)] = "unix:/var/spool/postfix/pratique/milter.sock"
    senders: Text = "trusted-senders.yaml"
    mode: Mode = Mode.ENFORCE
    actions: Actions = Field(default_factory=dict)
    authserv_id: Host | None = None
    authserv_ids: tuple[Host, ...] = ()
    header: Annotated[str, AfterValidator(_header)] = DEFAULT_HEADER
    subject_tag: Annotated[str | None, BeforeValidator(_subject_tag)] = None
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
    workers: Any = None  # see NOT_YET
    stop_timeout: Any = None
    metrics: Any = None

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
            warnings=warnings,
        )


# ---- pydantic's errors in our words ----------------------------------------------------------------


def _validated(model: type[M], document: Document) -> M:
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
    kind, found, context = error["type"], _shown(error["input"]), error.get("ctx", {})
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


# ---- the files -------------------------------------------------------------------------------------


def parse_senders(text: str, file: str, local_domains: frozenset[str] = frozenset()) -> list[Entry]:
    """The enabled entries of a trusted list. Raises ConfigError."""
    document = Document(text, file)
    listed = _validated(SendersFile, document).senders
    problems = [p for sender, entry in listed.items() for p in _wrong(sender, entry, document, local_domains)]
    if problems:
        raise ConfigError(problems)
    return [entry.entry(sender) for sender, entry in listed.items() if entry.enabled]


def _wrong(sender: str, entry: SenderFile, document: Document, local_domains: frozenset[str]) -> Iterator[Problem]:
    here: Place = ("senders", sender)
    if not re.fullmatch(r"[a-z0-9-]{1,40}", sender):
        yield document.at(here, "expected a short id of a-z, 0-9 and hyphens, such as visma-opic", of_key=True)
    if any(is_within(entry.domain, own) or is_within(own, entry.domain) for own in local_domains):
        yield document.at((*here, "domain"), f"{entry.domain} is one of your own local_domains: not a trusted sender")
    for number, (local, domain) in enumerate(entry.addresses):
        place: Place = (*here, "addresses", number)
        if not is_within(domain, entry.domain):
            yield document.at(place, f"found {local}@{domain}: expected an address of {entry.domain}")
        if local.strip("*") == "" and not entry.whole_domain:
            yield document.at(
                place, f"*@{domain} trusts every mailbox of the domain: list addresses, or add `whole_domain: yes`"
            )
    if entry.require is Require.NETWORK and not entry.networks:
        yield document.at((*here, "require"), "network is required, and the entry has no `networks`")


def parse_service(text: str, file: str) -> tuple[ServiceFile, tuple[str, ...]]:
    """The service's file, and warnings. Raises ConfigError."""
    document = Document(text, file)
    service = _validated(ServiceFile, document)
    idle = (
        document.at(place, "this version does not use the key", of_key=True) for place in NOT_YET if place in document
    )
    return service, tuple(map(str, idle))


def check_overlap(entries: list[Entry], file: str) -> None:
    """Two entries of one domain must not ask for different proof, nor bear one id. Raises ConfigError."""
    problems = []
    for number, entry in enumerate(entries):
        for other in entries[:number]:
            if entry.id == other.id:
                problems.append(Problem(file, 1, 1, f"senders.{entry.id}: the id is there twice: rename one"))
            elif entry.domain == other.domain and entry.require != other.require:
                text = f"senders.{entry.id}: requires {entry.require} of {entry.domain}, but {other.id} requires"
                problems.append(Problem(file, 1, 1, f"{text} {other.require}: make them the same, or one entry"))
    if problems:
        raise ConfigError(problems)


def load(path: Path) -> Settings:
    """Both files. Raises ConfigError; nothing else."""
    service, warnings = parse_service(_read(path), str(path))
    senders = path.parent / service.senders
    files = sorted(senders.glob("*.yaml")) if senders.is_dir() else [senders]
    if not files:
        raise ConfigError(f"{senders}: there is no .yaml file in this folder")
    problems: list[Problem] = []
    entries: list[Entry] = []
    for file in files:
        try:
            entries += parse_senders(_read(file), str(file), frozenset(service.local_domains))
        except ConfigError as wrong:
            if not wrong.problems:
                raise
            problems += wrong.problems
    if problems:
        raise ConfigError(problems)
    check_overlap(entries, str(senders))
    return service.settings(TrustedList(tuple(entries)), warnings)


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8")
    except OSError as problem:
        raise ConfigError(f"{path}: {problem.strerror}") from None
    except UnicodeDecodeError as problem:
        raise ConfigError(f"{path}: not UTF-8, at octet {problem.start + 1}: save the file as UTF-8") from None


__all__ = ["DEFAULT_CONFIG", "ConfigError", "Problem", "load", "parse_senders", "parse_service"]
