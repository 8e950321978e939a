"""The keys of the two files, as pydantic models.

Each key is defined once, here: validation, the JSON Schemas in config/ and docs/configuration.md are made of it.
The order of an entry's keys matters: what trusted.py compares with must stand before.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    model_validator,
)
from pydantic_core import CoreSchema

from pratique.model import (
    DEFAULT_ACTIONS,
    DEFAULT_HEADER,
    LOOPBACK,
    Alignment,
    DnsSettings,
    Entry,
    Limits,
    Mode,
    Relay,
    Require,
    Settings,
    TrustedHosts,
    TrustedList,
)

from .trusted import (
    AlsoKnown,
    Domain,
    EntryNetwork,
    EvidenceDomain,
    ListedAddress,
    PlatformDomain,
    Sealer,
    SenderId,
    Signer,
    needs_networks,
)
from .values import (
    Actions,
    Count,
    Date,
    DnsTimeout,
    Duration,
    Flag,
    Folder,
    HeaderName,
    Host,
    Listen,
    Names,
    OffOrKeys,
    Servers,
    SiteNetwork,
    Socket,
    StaleFor,
    SubjectTag,
    Text,
    Workers,
    or_off,
    site_network,
)

_DEFAULT_LIMITS = Limits()


def _key(title: str, description: str, *examples: Any, **more: Any) -> Any:
    return Field(title=title, description=description, examples=list(examples) or None, **more)


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SenderFile(_Model):
    """One platform: its domain, the addresses it writes from, and what must prove them."""

    name: Names | None = _key(
        "Name of the platform",
        "As it introduces itself, or a list of its names: short forms, a former name. Mail from elsewhere that shows "
        "one of them is tagged as an imitation. A name of everyday words, or of three or four letters, counts where "
        "nothing else stands beside it. What is in parentheses does not count. Not given: the id.",
        ["Example Platform", "ExPla"],
        default=None,
    )
    domain: PlatformDomain = _key(
        "Domain of the organisation",
        "Its subdomains belong to it. Refused: top-level domains and public suffixes, mail providers where anyone "
        "can get an address, and your own local_domains.",
        "example.org",
    )
    whole_domain: Flag = _key(
        "Whether *@domain is meant",
        "yes: addresses may hold `*@example.org`, every mailbox of the domain.",
        default=False,
    )
    smtputf8: Flag = _key(
        "Whether addresses may hold letters outside ASCII",
        "yes: the platform sends with SMTPUTF8 (RFC 6531), and the part before the @ may hold such letters.",
        default=False,
    )
    addresses: tuple[ListedAddress, ...] = _key(
        "Addresses it writes from",
        "Exact addresses of the domain or of its subdomains. `*` stands for any characters, in quotes: "
        '"noreply-*@example.org". "*@example.org" needs `whole_domain: yes`.',
        ["notices@example.org"],
        min_length=1,
    )
    enabled: Flag = _key("Whether the entry is in force", "no: as if the entry were not there.", default=True)
    networks: tuple[EntryNetwork, ...] = _key(
        "Networks of its mail hosts",
        "Where the platform publishes them. Anyone who sends through these hosts is then trusted. "
        "At most a /16 (IPv6: /32).",
        ["192.0.2.0/28"],
        default=(),
    )
    require: Annotated[Require, AfterValidator(needs_networks)] = _key(
        "What must prove a message",
        "any: DKIM or SPF, or the networks where given. dkim: DKIM, the strictest that survives forwarding. spf: SPF. "
        "network: one of the networks. all: DKIM and SPF, and the networks where given.",
        "dkim",
        default=Require.ANY,
    )
    alignment: Alignment = _key(
        "How near the proven domain must be",
        "relaxed: SPF or DKIM must pass for the domain or a subdomain of it. strict: for the very domain of the "
        "address.",
        "strict",
        default=Alignment.RELAXED,
    )
    also_known: AlsoKnown = _key(
        "Domains that it may look like",
        "Other domains of the same platform, in the list or in the catalogue, that this domain or name resembles. "
        "Without this line such an entry is refused, because a forger chooses a domain that looks like a platform's.",
        "example.com",
        default=(),
    )
    signers: tuple[Signer, ...] = _key(
        "Other domains that sign for it",
        "DKIM d=, exactly: its operator or mail provider. Providers whose every customer can sign are refused.",
        ["operator.example"],
        default=(),
    )
    evidence_domains: tuple[EvidenceDomain, ...] = _key(
        "The only domains that prove anything",
        "Where given, SPF and DKIM count for exactly these domains, each the entry's domain or below it.",
        ["mail.example.org"],
        default=(),
    )
    selectors: tuple[Text, ...] = _key(
        "DKIM selectors of the platform", "For your own record.", ["s1", "s2"], default=()
    )
    expires: Date | None = _key(
        "Last day of the entry",
        "From the next day on its mail is no longer verified. Not given: never.",
        "2027-12-31",
        default=None,
    )
    owner: Text | None = _key("Who asked for the entry", "A person or a team, for the next review.", default=None)
    note: Text | None = _key("Why it is there", "For the next reader.", default=None)
    source: Text | None = _key(
        "Where the platform publishes its addresses",
        "The page that the addresses were taken from.",
        "https://example.org/help/our-addresses",
        default=None,
    )
    actions: Actions = _key(
        "What is done with this entry's mail",
        "By verdict, as `actions` in pratique.yaml.",
        {"unverified": "quarantine"},
    )

    def entry(self, sender: str) -> Entry:
        names = self.name if self.name and self.name[0] else (sender,)
        return Entry(
            id=sender,
            name=names[0],
            other_names=names[1:],
            also_known=frozenset(self.also_known),
            domain=self.domain,
            addresses=self.addresses,
            require=self.require,
            alignment=self.alignment,
            networks=self.networks,
            signers=frozenset(self.signers),
            evidence_domains=frozenset(self.evidence_domains),
            selectors=self.selectors,
            expires=self.expires,
            owner=self.owner,
            note=self.note,
            actions=self.actions,
        )


class SendersFile(_Model):
    """The platforms whose notices must get through."""

    senders: dict[SenderId, SenderFile] = _key(
        "The trusted senders",
        "One entry a platform, by an id of your choice: 1 to 40 of a-z, 0-9 and hyphens. It appears in the log and "
        "in the mail.",
        min_length=1,
        json_schema_extra={"propertyNames": {"pattern": "^[a-z0-9-]{1,40}$"}},
    )


class TrustedHostsFile(_Model):
    """Our other MX hosts."""

    networks: tuple[SiteNetwork, ...] = _key("Their addresses", "Networks of these hosts.", ["192.0.2.20"])
    hosts: tuple[Host, ...] = _key("Their names", "The host= of the fields that they write.", ["mx2.example.org"])


class RelayFile(_Model):
    """Hosts in front of us; a network alone may stand for them."""

    networks: tuple[SiteNetwork, ...] = _key(
        "Their addresses", "Networks of these hosts.", ["198.51.100.0/28"], min_length=1
    )
    received_by: tuple[Host, ...] = _key(
        "Their names",
        "The host names behind `by` in the Received fields that they write: only then are these read.",
        ["gw.provider.example"],
        default=(),
    )

    @model_validator(mode="wrap")
    @classmethod
    def _network_alone(cls, value: Any, handler: ModelWrapValidatorHandler[RelayFile]) -> RelayFile:
        if isinstance(value, dict):
            return handler(value)
        site_network(value)
        return handler({"networks": [value]})

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [{"type": "string", "$comment": "network"}, handler(schema)]}

    def relay(self) -> Relay:
        return Relay(self.networks, frozenset(self.received_by))


class DnsFile(_Model):
    """How DNS is asked."""

    servers: Servers = _key(
        "Name servers",
        "resolv.conf: those of the machine. Or a list of addresses, with a port where it is not 53.",
        ["127.0.0.1:5353", "[2001:db8::53]:53"],
        default=(),
    )
    timeout: DnsTimeout = _key(
        "Time for all look-ups of a message", "After it DNS counts as silent.", "10s", default=timedelta(seconds=5)
    )
    cache: Flag = _key(
        "Whether answers are kept", "yes: as long as their TTL says. no: ask anew for each message.", default=True
    )
    stale: StaleFor = _key(
        "How long old answers stand in",
        "Where DNS fails for a name of a trusted sender, its last answer counts this long after its TTL. 0: never.",
        "2d",
        default=timedelta(hours=24),
    )


class LimitsFile(_Model):
    """Bounds on what is read of a message. Over one nothing is verified, with a reason; nothing is lost."""

    header_size: Count = _key(
        "Size of the header", "Octets of all header fields together.", default=_DEFAULT_LIMITS.header_size
    )
    header_fields: Count = _key(
        "Number of header fields", "How many header fields.", default=_DEFAULT_LIMITS.header_fields
    )
    from_size: Count = _key("Size of From", "Octets of the From field.", default=_DEFAULT_LIMITS.from_size)
    signature_size: Count = _key(
        "Size of a signature", "Octets of one DKIM-Signature field.", default=_DEFAULT_LIMITS.signature_size
    )
    signatures: Count = _key(
        "Number of signatures",
        "How many DKIM signatures are looked at, those of the platform first.",
        default=_DEFAULT_LIMITS.signatures,
    )
    signed_fields: Count = _key(
        "Number of signed fields", "How many fields one signature may name (h=).", default=_DEFAULT_LIMITS.signed_fields
    )
    signed_size: Count = _key(
        "Size of what is signed",
        "Octets of the fields that all signatures cover, one after the other.",
        default=_DEFAULT_LIMITS.signed_size,
    )


class LogFile(_Model):
    """How the log is written."""

    format: Literal["logfmt", "json"] = _key("Format of a line", "logfmt: key=value pairs.", "json", default="logfmt")
    level: Literal["debug", "info", "warning", "error"] = _key(
        "The least that is logged", "debug adds a line for each message that claims nothing.", "debug", default="info"
    )


class MetricsFile(_Model):
    """Where Prometheus finds us."""

    listen: Listen = _key(
        "Address and port", "There is no password: keep to the loopback.", "127.0.0.1:9894", default=("127.0.0.1", 9894)
    )


class ServiceFile(_Model):
    """The service. Every key has a default: an empty file is valid."""

    socket: Socket = _key(
        "Where the MTA finds us",
        "Postfix's smtpd is chrooted on Debian: a unix socket must lie under /var/spool/postfix.",
        "unix:/run/pratique/milter.sock",
        "inet:8894@127.0.0.1",
        default="unix:/var/spool/postfix/pratique/milter.sock",
    )
    senders: Text = _key(
        "The list of trusted senders",
        "A file, or a folder of .yaml files, relative to this file.",
        "senders.d",
        default="trusted-senders.yaml",
    )
    mode: Mode = _key(
        "Whether verdicts have an effect",
        "enforce: verdicts are written into the mail and acted upon. observe: everything is judged and logged, and "
        "the mail says `observed; would=verified; …`.",
        "observe",
        default=Mode.ENFORCE,
    )
    actions: Actions = _key(
        "What is done, by verdict",
        "tag: deliver, with our field. quarantine: hold in the MTA. reject: refuse with 550 5.7.1. defer: put off "
        "while the message is young, then tag. Verified mail is always tagged.",
        {"unverified": "quarantine"},
    )
    authserv_id: Host | None = _key(
        "The name we sign our fields with", "Not given: what the MTA calls itself.", "mx1.example.org", default=None
    )
    authserv_ids: tuple[Host, ...] = _key(
        "The names of all our MX hosts",
        "An incoming Authentication-Results field by one of them is forged, and is deleted.",
        ["mx1.example.org", "mx2.example.org"],
        default=(),
    )
    header: HeaderName = _key(
        "The field that carries the verdict", "It must begin with X-.", "X-Platform-Mail", default=DEFAULT_HEADER
    )
    subject_tag: SubjectTag = _key(
        "A text before the Subject",
        "For mail that is unverified, undetermined or an imitation. off: never. It breaks the sender's DKIM signature.",
        "[not verified]",
        default=None,
    )
    strip_authentication_results: Flag = _key(
        "Whether forged Authentication-Results are deleted",
        "no: leave them alone, where another filter of ours must write its own before us.",
        default=True,
    )
    local_networks: tuple[SiteNetwork, ...] = _key(
        "Clients of our own", "Their mail is not judged.", ["127.0.0.0/8", "::1"], default=LOOPBACK
    )
    relays: tuple[RelayFile, ...] = _key(
        "Gateways in front of us",
        "Networks, or networks with the names of the hosts. For mail from a network alone SPF and the networks of "
        "entries are not evaluated; with `received_by` the client is read from the Received fields they wrote.",
        ["198.51.100.0/28"],
        default=(),
    )
    arc_sealers: tuple[Sealer, ...] = _key(
        "Forwarders whose ARC seals count",
        "The exact d= of forwarders and lists that are trusted to tell what SPF and DKIM said when mail came to them.",
        ["lists.example.org"],
        default=(),
    )
    trusted_hosts: TrustedHostsFile | None = _key(
        "Our other MX hosts", "Where they run Pratique too: the verdict of their fields is kept.", default=None
    )
    local_domains: tuple[Domain, ...] = _key(
        "The site's own domains", "They cannot be trusted senders.", ["example.org"], default=()
    )
    defer_for: Duration = _key(
        "How long mail is put off",
        "What cannot be judged is deferred until its Date is this old, and then delivered as undetermined.",
        "2h",
        default=timedelta(hours=4),
    )
    clock_skew: Duration = _key(
        "How far the sender's clock may be ahead",
        "For Date, and for t= and x= of DKIM signatures.",
        "10m",
        default=timedelta(minutes=5),
    )
    dns: DnsFile = _key("DNS", "How DNS is asked.", default=DnsFile())
    limits: LimitsFile = _key("Limits", "Bounds on what is read of a message.", default=LimitsFile())
    log: LogFile = _key("Log", "To standard error, where systemd takes it to the journal.", default=LogFile())
    workers: Workers = _key("Processes", "auto: twice as many as there are CPUs, from 2 to 8.", 4, default=None)
    stop_timeout: Duration = _key(
        "How long messages are waited for at a stop",
        "The MTA defers what is left.",
        "1m",
        default=timedelta(seconds=30),
    )
    reload_on_change: Flag = _key(
        "Whether changed files are taken into use untold",
        "A bad file is logged, and changes nothing.",
        default=False,
    )
    state_directory: Folder | None = _key(
        "Where the last good configuration is kept",
        "Not given: the unit's StateDirectory. Where neither is known, wrong files at a start stop the service.",
        "/var/lib/pratique",
        default=None,
    )
    metrics: Annotated[MetricsFile | None, OffOrKeys] = _key(
        "Figures for Prometheus", "Not given, or off: none.", default=None, json_schema_extra=or_off
    )

    def settings(self, senders: TrustedList) -> Settings:
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
            relays=tuple(relay.relay() for relay in self.relays),
            arc_sealers=frozenset(self.arc_sealers),
            trusted_hosts=TrustedHosts(hosts.networks, frozenset(hosts.hosts)) if hosts else TrustedHosts(),
            local_domains=frozenset(self.local_domains),
            defer_for=self.defer_for,
            clock_skew=self.clock_skew,
            dns=DnsSettings(
                self.dns.servers, self.dns.timeout.total_seconds(), self.dns.cache, self.dns.stale.total_seconds()
            ),
            limits=Limits(**self.limits.model_dump()),
            log_format=self.log.format,
            log_level=self.log.level,
            workers=self.workers,
            stop_timeout=self.stop_timeout,
            reload_on_change=self.reload_on_change,
            state_directory=self.state_directory,
            metrics=self.metrics.listen if self.metrics else None,
        )
