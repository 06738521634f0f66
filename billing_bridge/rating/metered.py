"""What octets cost: overage, graduated and volume tiers, packages.

Volumes of a plan (what is included, where a tier ends) are for a whole period and are prorated by the day exactly like
a fee: whoever changes plan on day 11 has 10/30 of the old volume for the first ten days and 20/30 of the new one
afterwards. A fraction of an octet is the subscriber's. Prices, sizes of packages and the flat part of a tier are not
prorated. The cost is a function of the sum, never less for more octets unless a volume tier says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from controller.domain.price import Free, Graduated, Meter, Metered, Overage, Package, Volume
from controller.domain.units import human_octets, octets_in


@dataclass(frozen=True, slots=True)
class Share:
    """`days` of the `of` days of a period."""

    days: int
    of: int

    def volume(self, octets: int) -> int:
        """The part of a plan's volume; a fraction is the subscriber's."""
        return -(-octets * self.days // self.of)


@dataclass(frozen=True, slots=True)
class Cost:
    """`octets` of `used` are charged for. `unit_price` is None where no single one makes the amount."""

    exact: Decimal
    octets: int
    quantity: Decimal
    unit: str
    unit_price: Decimal | None
    label: str
    steps: tuple[str, ...]
    included: int | None = None


def counted(price: Metered, upstream: int, downstream: int) -> int:
    """The octets that a price is for, of those in either of the subscriber's directions."""
    if price.meter is Meter.DOWNSTREAM:
        return downstream
    return upstream if price.meter is Meter.UPSTREAM else upstream + downstream


def cost(price: Metered, used: int, share: Share) -> Cost:
    """What `used` octets cost by one price on `share` of a period."""
    match price:
        case Overage():
            return _overage(price, used, share)
        case Graduated():
            return _graduated(price, used, share)
        case Volume():
            return _volume(price, used, share)
        case Package():
            return _package(price, used, share)
        case Free():
            said = f"{used} octets in free hours"
            return Cost(Decimal(0), 0, Decimal(0), "octet", Decimal(0), "free", (said,))


def dearest(price: Metered, octets: int) -> Decimal:
    """The most that `octets` more can come to by this price."""
    match price:
        case Overage():
            return price.price * octets_in(octets, price.unit)
        case Graduated() | Volume():
            flats = sum((t.flat for t in price.tiers), Decimal(0))
            return max(t.price for t in price.tiers) * octets_in(octets, price.unit) + flats
        case Package():
            return price.price * -(-octets // price.size)
        case Free():
            return Decimal(0)


def _included(octets: int, share: Share) -> tuple[int, str]:
    included = share.volume(octets)
    return included, f"included {octets} octets × {share.days} of {share.of} days = {included}"


def _overage(price: Overage, used: int, share: Share) -> Cost:
    included, said = _included(price.included, share)
    over = max(0, used - included)
    amount = octets_in(over, price.unit)
    exact = price.price * amount
    steps = (said, f"beyond it {over} octets = {amount} {price.unit}", f"× {price.price} per {price.unit} = {exact}")
    return Cost(exact, over, amount, price.unit, price.price, beyond(price, over), steps, included)


def beyond(price: Overage, octets: int) -> str:
    """What is charged for, in words: beyond the included volume, if there is one."""
    return f"{human_octets(octets)} beyond the included volume" if price.included else f"{human_octets(octets)} used"


def _graduated(price: Graduated, used: int, share: Share) -> Cost:
    exact, lower, steps = Decimal(0), 0, []
    for tier in price.tiers:
        upper = used if tier.up_to is None else min(used, share.volume(tier.up_to))
        if upper > lower:
            part = tier.price * octets_in(upper - lower, price.unit) + tier.flat
            exact += part
            flat = f" + {tier.flat}" if tier.flat else ""
            steps.append(f"octets {lower} to {upper} × {tier.price} per {price.unit}{flat} = {part}")
            lower = upper
    return _whole(exact, used, steps, f"{human_octets(used)} by graduated tiers")


def _volume(price: Volume, used: int, share: Share) -> Cost:
    if not used:
        return _whole(Decimal(0), 0, [], "nothing used")
    reached = next(t for t in price.tiers if t.up_to is None or used <= share.volume(t.up_to))
    exact = reached.price * octets_in(used, price.unit) + reached.flat
    limit = "above all limits" if reached.up_to is None else f"up to {share.volume(reached.up_to)} octets"
    flat = f" + {reached.flat}" if reached.flat else ""
    steps = [f"tier {limit}: {octets_in(used, price.unit)} {price.unit} × {reached.price}{flat} = {exact}"]
    return _whole(exact, used, steps, f"{human_octets(used)} at the price of their tier")


def _package(price: Package, used: int, share: Share) -> Cost:
    included, said = _included(price.included, share)
    over = max(0, used - included)
    packages = -(-over // price.size)
    exact = price.price * packages
    steps = (said, f"beyond it {over} octets = {packages} started packages of {price.size}, × {price.price} = {exact}")
    label = f"{packages} packages of {human_octets(price.size)}"
    return Cost(exact, over, Decimal(packages), "package", price.price, label, steps, included)


def _whole(exact: Decimal, used: int, steps: list[str], label: str) -> Cost:
    return Cost(exact, used, Decimal(1), "period", None, label, tuple(steps))
