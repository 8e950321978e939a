"""Words that many platforms, buyers and suppliers share. A name or domain of such words alone is not distinctive.

Rules of this module: two tables and pure functions on them. "Public Purchase" is a platform, and "public purchase
orders" is what every buyer writes: such a name is looked for as a whole, and near spellings that are such words are
honest.
"""

from __future__ import annotations

import functools

# What a sender puts beside its name.
_OF_SENDERS = """
alert alerte alertes alerts antworten app automatic avis benachrichtigung benachrichtigungen bot contact desk do
donotreply email help helpdesk info information mail mailer mailing message messages ne news newsletter nicht no
noreply not notice notices notification notifications notify official online pas plateforme platform plattform
portail portal postmaster reply repondre robot service services site support svara system team the updates via
web website
"""
# The vocabulary of procurement, and of everyday: English, French, German, Swedish, Croatian, Dutch, Italian, Spanish;
# without accents.
_OF_TRADE = """
a aanbesteding aanbestedingen account achat achats acheteur acheteurs acquisition acquisitions acquisti
administration agency all and appalti appalto appel appels auftrag auftrage auktion ausschreibung
ausschreibungen authority bank best bid bidder bidders bidding bids building business businesses buy buyer
buyers buying care center central centrale centre city commande commandes commerce commercial commune communes
company compras concessions construction contract contracting contractor contractors contracts contratacion
contratos council country county daily data de deal deals delivery demat departement department der des desk die
digital digitale direct direction du e east education electronic energy entreprise entreprises equipment est et
euro europe european events exchange express fair fast find finder first food for fournisseur fournisseurs
france free from fund gara gare general get global good goods government grand green group groupe guide health
home hospital how in industrial industry infrastructure inkoop inkop international invoice invoices invoicing it
job jobs key kommun la land le legal les licitacion licitaciones life link list local logistics madrid
management mapa marche marches market marketing marketplace markets mercato mes metro mon money munich my nabava
nabave narodne nation national nationale net network new nord north now objednavka of offer offers offert office
offre offres on one open order orders our paris pays people place places platforms price prices private pro
procedure process procurement procurements products professional project projects property provider provinces
public publica publicas publication publiche publici publico publics publique publiques purchase purchaser
purchasers purchases purchasing quality quick real regie region regional regione register registry request
requests research resource resources rfp rfq safe sale sales school schools science search secure security sell
seller sellers serve server shop smart social software solution solutions source sources sourcing south spend
state states store stores strategic sud supplied supplier suppliers supplies supply supplying sweden tax
technical technologies technology tender tendering tenders territoire territoires to today tool tools town trade
trader trading transport travaux travel treasury trust un une union united university up upphandling
upphandlingar us user value vendor vendors vergabe vergaben verwaltung ville villes water we welcome west work
works world year you your
"""
SERVICE = frozenset(_OF_SENDERS.split())
_ALL = SERVICE | frozenset(_OF_TRADE.split())
_LONGEST = max(map(len, _ALL))


def is_everyday(word: str) -> bool:
    """Whether a word, in lower case, is one of those, or a number."""
    return word in _ALL or word.isdecimal()


@functools.lru_cache(maxsize=1024)
def is_made_of_everyday_words(letters: str) -> bool:
    """Whether a text without spaces is nothing but such words, one after the other: `publicpurchases`."""
    reached = [True] + [False] * len(letters)
    for end in range(1, len(letters) + 1):
        starts = range(max(0, end - _LONGEST), end)
        reached[end] = any(reached[start] and letters[start:end] in _ALL for start in starts)
    return reached[-1]
