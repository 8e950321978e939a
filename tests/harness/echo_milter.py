"""A milter that does what the message tells it, and says what it saw. Run as `echo_milter.py SOCKET`.

Each field `X-Order: WORD ARGUMENT…` is carried out at the callback it is meant for. At the end of message a field
`X-Saw` is added with all calls since MAIL as JSON, bytes as latin-1.
"""

import json
import sys

import Milter


@Milter.header_leading_space
class Echo(Milter.Base):  # type: ignore[misc]  # Milter has no types
    """One connection."""

    def __init__(self) -> None:
        self.connection: list[list[object]] = []
        self.calls: list[list[object]] = []
        self.orders: list[list[str]] = []

    def setsymlist(self, stage: int, *macros: str) -> None:
        """pymilter 1.0.5 hands bytes to C code that wants str; what `negotiate` makes of the TypeError is
        that it negotiates nothing at all."""
        self._ctx.setsymlist(stage, " ".join(macros))

    @Milter.symlist("j", "{client_addr}", "{daemon_name}")  # type: ignore[untyped-decorator]
    def connect(self, name: str, family: int, address: object) -> int:
        macros = [self.getsymval(macro) for macro in ("j", "{client_addr}", "{daemon_name}", "v")]
        self.connection = [["connect", name, family, address, macros]]
        return int(Milter.REJECT if name == "reject.example" else Milter.CONTINUE)

    def hello(self, name: str) -> int:
        self.connection.append(["hello", name])
        return int(Milter.ACCEPT if name == "accept.example" else Milter.CONTINUE)

    @Milter.decode("bytes")  # type: ignore[untyped-decorator]
    def envfrom(self, sender: bytes, *parameters: bytes) -> int:
        self.calls, self.orders = [*self.connection], []
        return self.saw("envfrom", sender, *parameters, macros=("i", "{auth_authen}", "{mail_addr}"))

    @Milter.decode("bytes")  # type: ignore[untyped-decorator]
    def envrcpt(self, recipient: bytes, *parameters: bytes) -> int:
        self.saw("envrcpt", recipient, *parameters, macros=("i", "{rcpt_addr}"))
        return int(Milter.REJECT if recipient.startswith(b"<reject") else Milter.CONTINUE)

    @Milter.noreply  # type: ignore[untyped-decorator]
    @Milter.decode("bytes")  # type: ignore[untyped-decorator]
    def header(self, name: str, value: bytes) -> int:
        if name == "X-Order":
            self.orders.append(value.decode().split(" ")[1:])
        return self.saw("header", name, value)

    def eoh(self) -> int:
        return self.saw("eoh")

    def body(self, octets: bytes) -> int:
        self.saw("body", len(octets))
        return int(Milter.SKIP if ["skip"] in self.orders else Milter.CONTINUE)

    @Milter.symlist("i", "{auth_authen}", "{client_addr}", "{mail_addr}")  # type: ignore[untyped-decorator]
    def eom(self) -> int:
        self.saw("eom", macros=("i", "{auth_authen}", "{client_addr}", "{mail_addr}"))
        answer = Milter.CONTINUE
        for word, *arguments in self.orders:
            if word == "add":
                self.addheader(arguments[0], " ".join(arguments[1:]))
            elif word == "insert":
                self.addheader(arguments[1], " ".join(arguments[2:]), int(arguments[0]))
            elif word == "change":
                self.chgheader(arguments[1], int(arguments[0]), " ".join(arguments[2:]))
            elif word == "body":
                self.replacebody(b"another\r\n")
            elif word == "quarantine":
                self.quarantine(" ".join(arguments))
            elif word == "reply":
                self.setreply(arguments[0], arguments[1], " ".join(arguments[2:]))
                answer = Milter.REJECT if arguments[0][0] == "5" else Milter.TEMPFAIL
            elif word == "answer":
                answer = getattr(Milter, arguments[0])
            elif word == "raise":
                raise RuntimeError("as told")
        self.addheader("X-Saw", " " + json.dumps(self.calls))
        return int(answer)

    def abort(self) -> int:
        self.connection.append(["abort"])
        return int(Milter.CONTINUE)

    def saw(self, callback: str, *arguments: object, macros: tuple[str, ...] = ()) -> int:
        plain = [text.decode("latin-1") if isinstance(text, bytes) else text for text in arguments]
        self.calls.append([callback, *plain, *([[self.getsymval(macro) for macro in macros]] if macros else [])])
        return int(Milter.CONTINUE)


if __name__ == "__main__":
    Milter.factory = Echo
    Milter.runmilter("echo", sys.argv[1], 60)
