"""DNS: what a message's look-ups are told, from servers, from memory, or from a zone file.

Rules of this package: the only one that imports dnspython. A look-up never raises; it says what DNS said. It holds
no opinion on mail: which names belong to trusted senders is told to it (`keep`).
"""

from .lookups import DnsConfigError, Lookups, Resolver
from .network import NetworkResolver
from .records import load_types
from .zone import ZoneResolver

__all__ = ["DnsConfigError", "Lookups", "NetworkResolver", "Resolver", "ZoneResolver", "load_types"]
