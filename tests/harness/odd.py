"""Messages that are no proper ones: octets that programs along the way read in different ways."""

# Fields that claim to be ours, in any spelling.
FORGED = [
    b"X-Trusted-Sender: verified; sender=visma-opic",
    b"X-Trusted-Sender:verified",
    b"X-Trusted-Sender : verified",
    b"X-Trusted-Sender\t: verified",
    b"X-Trusted-Sender \t : verified",
    b"X-Trusted-Sender\r: verified",
    b"x-tRUSTED-sENDER: verified",
    b"X-Trusted-Sender:\r\n verified",
    b"X-Trusted-Sender:\r\n\tverified;\r\n sender=visma-opic",
    b"X-Trusted-Sender: verified\nX-Trusted-Sender: verified",
    b"Subject: x\nX-Trusted-Sender: verified",
    b"X-Trusted-Sender: verified\r\r",
    b"X-Trusted-Sender: " + b"verified" * 10000,
    b"\r\n".join(
        [b"X-Trusted-Sender: verified", b"X-trusted-sender : verified", b"X-TRUSTED-SENDER:\r\n verified"] * 20
    ),
]

AUTHOR = b"From: Visma Opic <noreply.opic@visma.com>\r\n"
EVIL = b"From: x@evil.example\r\n"
BODY = b"Subject: x\r\n\r\nHej.\r\n"
ODD = {
    "bare LF": AUTHOR.replace(b"\r\n", b"\n") + BODY,
    "bare LF before another From": b"Subject: x\n" + AUTHOR + EVIL + BODY,
    "bare LF in the body": AUTHOR + b"\r\na\nb\n\nc\r\n",
    "bare CR in From": b"From: Visma Opic\r<noreply.opic@visma.com>\r\n" + BODY,
    "bare CR in the address": b"From: noreply.opic\r@visma.com\r\n" + BODY,
    "bare CR before another From": EVIL[:-2] + b"\r" + AUTHOR + BODY,
    "bare CR that folds": EVIL + b"\r" + AUTHOR + BODY,
    "bare CR before the colon": b"Subject: x\r\nFrom\r: noreply.opic@visma.com\r\n" + BODY,
    "bare CR in the name": AUTHOR + b"Fr\rom: x@evil.example\r\n" + BODY,
    "bare CR in the body": AUTHOR + b"\r\na\rb\r\r\nc\r\r\n\rd\r\n",
    "CR CR LF": AUTHOR.replace(b"\r\n", b"\r\r\n") + b"Subject: x\r\r\n y\r\r\r\n\r\r\nHej.\r\r\n",
    "dots": AUTHOR + b"\r\n.\r\n..\r\nHej.\n.\r\n",
    "NUL after the address": b"From: noreply.opic@visma.com\0.evil.example\r\n" + BODY,
    "NUL before the address": b"From: x@evil.example\0 <noreply.opic@visma.com>\r\n" + BODY,
    "NUL in a fold": b"From: Visma\r\n Opic\0\r\n <noreply.opic@visma.com>\r\n" + BODY,
    "NUL in the name": AUTHOR + b"Fr\0om: x@evil.example\r\n" + BODY,
    "NUL for the empty line": b"Subject: x\r\n\0\r\n" + AUTHOR + b"\r\nHej.\r\n",
    "NUL in the body": AUTHOR + b"\r\nH\0j.\r\n",
    "blanks before the colon": b"To : x\r\nFrom \t : noreply.opic@visma.com\r\n" + BODY,
    "blank before the colon of the first line": b"Subject : x\r\n" + AUTHOR + BODY,
    "blank before the colon of one From": b"Subject: x\r\nFrom : noreply.opic@visma.com\r\n" + EVIL + BODY,
    "tab before the colon of the first line": b"From\t: noreply.opic@visma.com\r\n" + BODY,
    "mbox lines": b"From me\r\n>From you\r\n" + AUTHOR + BODY,
    "mbox line further down": b"Subject: x\r\nFrom me\r\n" + AUTHOR + BODY,
    "malformed line before From": b"Subject: x\r\nno field\r\n" + AUTHOR + BODY,
    "malformed line after From": AUTHOR + b"no field\r\n" + EVIL + BODY,
    "blank within a name": AUTHOR + b"Reply To: x\r\n" + EVIL + BODY,
    "empty name": AUTHOR + b": x\r\n" + EVIL + BODY,
    "8-bit name before From": b"Subject: x\r\nX-\xc3\xa9: y\r\n" + AUTHOR + BODY,
    "8-bit name after From": AUTHOR + b"X-\xe9: y\r\n" + EVIL + BODY,
    "8-bit From": AUTHOR + b"Fr\xd0\xbem: x@evil.example\r\n" + BODY,
    "control character in a name": AUTHOR + b"X-\x01\x7f: y\r\n" + EVIL + BODY,
    "8-bit value": b"From: \"Visma \xc3\x96pic \xff\" <noreply.opic@visma.com>\r\n" + BODY,
    "fold of blanks": b"From:\r\n \r\n\t\r\n noreply.opic@visma.com\r\n" + BODY,
    "vertical tab": b"Subject: x\x0b\x0cy\r\n\x0bFrom: x@evil.example\r\n" + AUTHOR + BODY,
    "empty values": b"Cc:\r\nTo: \r\n" + AUTHOR + BODY,
    "dropped fields": b"Return-Path: <x@y>\r\nBcc: x\r\n y\r\nContent-Length: 5\r\nResent-Bcc: z\r\n" + AUTHOR + BODY,
    "no empty line": AUTHOR + b"Subject: x",
    "no end of the last line": AUTHOR + b"\r\nHej",
    "long lines": AUTHOR + b"Subject: " + b"x" * 9000 + b"\r\n\r\n" + b"y" * 70000 + b"\r\n" + b"z" * 70000,
}  # fmt: skip
