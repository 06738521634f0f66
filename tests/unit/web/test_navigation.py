"""Where a viewer is: the place in the navigation and the tab in it, by the address alone."""

from __future__ import annotations

import pytest

from controller.app.site import NAVIGATION, navigation
from controller.web.api import Api
from controller.web.site import NavItem
from tests.support import sample_api


def place(here: str) -> tuple[str, str]:
    found = max(NAVIGATION, key=lambda item: item.nearness(here))
    if not found.nearness(here):
        return "", ""
    tab = max(found.tabs, key=lambda item: item.nearness(here), default=None)
    return found.label, tab.label if tab is not None and tab.nearness(here) else ""


@pytest.mark.parametrize(
    ("here", "label", "tab"),
    [
        ("/bank", "Payments", "Bank"),
        ("/bank/lines/0199", "Payments", "Bank"),
        ("/payments/0199", "Payments", "To allocate"),
        ("/payments/gateways/stripe", "Payments", "Gateways"),
        ("/cash/tills/new", "Payments", "Cash desk"),
        ("/disputes/0199", "Dunning", "Disputes"),
        ("/ledger/accounts/1200", "Ledger", "Trial balance"),
        ("/ledger/entries", "Ledger", "Journal"),
        ("/resellers/0199", "Customers", "Resellers"),
        ("/invoice-lines/0199", "Invoices", ""),
        ("/taxes/levies", "Offerings", "Communications taxes"),
        ("/nas/weak", "Devices", "Weak"),
        ("/services/0199", "Sessions", ""),
        ("/cashier", "", ""),
        ("/", "", ""),
    ],
)
def test_an_address_is_of_the_nearest_place(here: str, label: str, tab: str) -> None:
    assert place(here) == (label, tab)


def test_no_address_stands_in_two_places() -> None:
    hrefs = [tab.href for item in NAVIGATION for tab in item.tabs]
    assert len(hrefs) == len(set(hrefs)) > 30


def test_a_place_is_its_own_first_tab() -> None:
    assert all(item.tabs[0].href == item.href for item in NAVIGATION if item.tabs)


def test_what_this_process_does_not_serve_is_no_tab() -> None:
    served: dict[str, NavItem] = {item.label: item for item in navigation(Api(sample_api.endpoints([])))}
    assert [tab.label for tab in served["Payments"].tabs] == ["To allocate"]
