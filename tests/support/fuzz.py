"""schemathesis over every endpoint that /openapi.json describes: generated requests, right and wrong.

What is checked: never a 5xx that was not declared, only declared statuses and content types, bodies as declared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


class Fuzzer:
    """Sends generated requests to a running server. `sent` counts them by status, `failures` says what was wrong."""

    def __init__(self, url: str, headers: Mapping[str, str], *, skip: Callable[[str, str], bool]) -> None:
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        operations = [result.ok() for result in schema.get_all_operations()]
        self._operations = [o for o in operations if not skip(o.method.upper(), o.path)]
        self._headers = dict(headers)
        self.sent: dict[int, int] = {}
        self.failures: list[str] = []

    def run(self, *, budget_s: float, examples: int = 20) -> None:
        """Valid and invalid requests to every operation; the time is shared evenly between them."""
        modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        share_s = budget_s / max(1, len(self._operations) * len(modes))
        for operation in self._operations:
            for mode in modes:
                try:
                    strategy = operation.as_strategy(generation_mode=mode)
                    self._probe(strategy, time.monotonic() + share_s, examples)
                except hypothesis.errors.Unsatisfiable:
                    continue  # an operation without parameters and body has no invalid request
                except FailureGroup as group:
                    self._note(operation, "; ".join(str(error) for error in group.exceptions))
                except Exception as error:
                    self._note(operation, repr(error))

    def _probe(self, strategy: Any, deadline: float, examples: int) -> None:
        @hypothesis.given(case=strategy)
        @hypothesis.settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def probe(case: schemathesis.Case) -> None:
            if time.monotonic() < deadline:
                response = case.call_and_validate(headers=self._headers, checks=CHECKS, timeout=20)
                self.sent[response.status_code] = self.sent.get(response.status_code, 0) + 1

        probe()

    def _note(self, operation: Any, what: str) -> None:
        self.failures.append(f"{operation.method.upper()} {operation.path}: {what}")
