"""What a customer is told of prepaid credit: until when it can be used, or that little is left. In the languages that
documents are printed in. Pure."""

from __future__ import annotations

from datetime import date, timedelta

from billing_bridge.prepaid.model import OCTETS, SECONDS
from controller.domain.units import human_octets
from controller.workflows.contract_texts import Told
from erp.finance.words import Words, words_of

_TEXTS = {
    "en": (
        "Dear customer,", "Service {service}",
        "Your prepaid credit can be used until {last}",
        "your prepaid credit of {amount} can be used until {last}. What is left of it then is gone, unless you top it"
        " up before.",
        "Your prepaid credit is running low",
        "{amount} of your prepaid credit is left. Please top it up in time.",
    ),
    "de": (
        "Guten Tag,", "Anschluss {service}",
        "Ihr Prepaid-Guthaben gilt bis {last}",
        "Ihr Prepaid-Guthaben von {amount} können Sie bis {last} verbrauchen. Was dann noch übrig ist, verfällt, wenn"
        " Sie nicht vorher aufladen.",
        "Ihr Prepaid-Guthaben geht zur Neige",
        "von Ihrem Prepaid-Guthaben sind noch {amount} übrig. Bitte laden Sie es rechtzeitig auf.",
    ),
    "es": (
        "Estimado cliente:", "Servicio {service}",
        "Puede usar su saldo de prepago hasta el {last}",
        "Puede usar su saldo de prepago de {amount} hasta el {last}. Lo que quede entonces caduca, salvo que lo"
        " recargue antes.",
        "Su saldo de prepago se está agotando",
        "De su saldo de prepago quedan {amount}. Recárguelo a tiempo, por favor.",
    ),
    "fr": (
        "Bonjour,", "Service {service}",
        "Votre crédit prépayé est valable jusqu’au {last}",
        "votre crédit prépayé de {amount} peut être utilisé jusqu’au {last}. Ce qu’il en restera sera perdu, à moins"
        " que vous ne le rechargiez avant.",
        "Votre crédit prépayé s’épuise",
        "il reste {amount} de votre crédit prépayé. Merci de le recharger à temps.",
    ),
    "it": (
        "Gentile cliente,", "Servizio {service}",
        "Il Suo credito prepagato vale fino al {last}",
        "il Suo credito prepagato di {amount} può essere usato fino al {last}. Ciò che ne resta allora scade, se non lo"
        " ricarica prima.",
        "Il Suo credito prepagato sta per esaurirsi",
        "del Suo credito prepagato restano {amount}. La preghiamo di ricaricarlo in tempo.",
    ),
    "pl": (
        "Dzień dobry,", "Usługa {service}",
        "Środki prepaid są ważne do {last}",
        "środki prepaid w wysokości {amount} można wykorzystać do {last}. To, co wtedy zostanie, przepada, chyba że"
        " konto zostanie wcześniej doładowane.",
        "Środki prepaid się kończą",
        "ze środków prepaid pozostało {amount}. Prosimy doładować konto w porę.",
    ),
    "pt": (
        "Caro cliente,", "Serviço {service}",
        "O seu saldo pré-pago é válido até {last}",
        "o seu saldo pré-pago de {amount} pode ser usado até {last}. O que restar então caduca, se não o recarregar"
        " antes.",
        "O seu saldo pré-pago está a acabar",
        "do seu saldo pré-pago restam {amount}. Por favor, recarregue-o a tempo.",
    ),
}  # fmt: skip


def told(*, locale: str, service_id: str, seller: str, unit: str, balance: int, expires_on: date | None) -> Told:
    """`expires_on` is the first day without what is left; None tells that little is."""
    words = words_of(locale)
    greeting, service, expiry, expires, low, is_low = _TEXTS.get(locale.partition("_")[0], _TEXTS["en"])
    last = "" if expires_on is None else words.day(expires_on - timedelta(days=1))
    filled = {"last": last, "amount": _amount(balance, unit, words)}
    title, said = (low, is_low) if expires_on is None else (expiry, expires)
    paragraphs = [greeting, said.format(**filled), service.format(service=service_id[-12:]), seller]
    return Told(title.format(**filled), "\n\n".join(paragraphs) + "\n")


def _amount(balance: int, unit: str, words: Words) -> str:
    if unit == OCTETS:
        return human_octets(balance)
    return f"{balance // 3_600} h {balance % 3_600 // 60} min" if unit == SECONDS else words.money(balance, unit)
