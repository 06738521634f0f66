"""What a customer is told before a contract ends or renews, in the languages that documents are printed in. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from erp.finance.words import words_of

_TEXTS = {
    "en": (
        "Your contract {name}",
        "Dear customer,\n\nyour contract {name} runs until {last}. {then}\n\n"
        "Notice can be given until {notice}.\n\n{seller}\n",
        "It is renewed for {months} months after that.",
        "It goes on after that and can be ended at any time by notice.",
    ),
    "de": (
        "Ihr Vertrag {name}",
        "Guten Tag,\n\nIhr Vertrag {name} läuft bis {last}. {then}\n\nSie können bis {notice} kündigen.\n\n{seller}\n",
        "Danach verlängert er sich um {months} Monate.", "Danach läuft er weiter und ist jederzeit kündbar.",
    ),
    "es": (
        "Su contrato {name}",
        "Estimado cliente:\n\nSu contrato {name} dura hasta el {last}. {then}\n\n"
        "Puede rescindirlo hasta el {notice}.\n\n{seller}\n",
        "Después se renueva por {months} meses.", "Después continúa y puede rescindirse en cualquier momento.",
    ),
    "fr": (
        "Votre contrat {name}",
        "Bonjour,\n\nvotre contrat {name} court jusqu’au {last}. {then}\n\n"
        "Vous pouvez le résilier jusqu’au {notice}.\n\n{seller}\n",
        "Il est ensuite reconduit pour {months} mois.", "Il se poursuit ensuite et peut être résilié à tout moment.",
    ),
    "it": (
        "Il Suo contratto {name}",
        "Gentile cliente,\n\nil Suo contratto {name} dura fino al {last}. {then}\n\n"
        "Può recedere fino al {notice}.\n\n{seller}\n",
        "In seguito si rinnova per {months} mesi.", "In seguito prosegue e può essere disdetto in ogni momento.",
    ),
    "pl": (
        "Umowa {name}",
        "Dzień dobry,\n\numowa {name} obowiązuje do {last}. {then}\n\n"
        "Umowę można wypowiedzieć do {notice}.\n\n{seller}\n",
        "Następnie przedłuża się o {months} mies.", "Następnie trwa dalej i można ją wypowiedzieć w każdej chwili.",
    ),
    "pt": (
        "O seu contrato {name}",
        "Caro cliente,\n\no seu contrato {name} dura até {last}. {then}\n\n"
        "Pode denunciá-lo até {notice}.\n\n{seller}\n",
        "Depois renova-se por {months} meses.", "Depois continua e pode ser denunciado a qualquer momento.",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Told:
    title: str
    text: str


def told(*, locale: str, name: str, seller: str, last_on: date, notice_on: date, renewal_months: int) -> Told:
    """`last_on` is the last day of the term, `notice_on` the last one to give notice."""
    words = words_of(locale)
    title, text, renewed, open_ended = _TEXTS.get(locale.partition("_")[0], _TEXTS["en"])
    then = renewed.format(months=renewal_months) if renewal_months else open_ended
    return Told(
        title.format(name=name),
        text.format(name=name, last=words.day(last_on), notice=words.day(notice_on), then=then, seller=seller),
    )
