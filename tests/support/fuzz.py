"""schemathesis over every endpoint that /openapi.json describes: generated requests, right and wrong.

What is checked: never a 5xx that was not declared, only declared statuses and content types, bodies as declared.
Generated ids lead to nothing but 404, so every second request names things that are there: `learn` reads their ids.
"""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
import hypothesis
import schemathesis

# schemathesis loads this when a schema is first read; pytest rewrites it then, and parsing that much source in the
# middle of a test, where CPython 3.11 may collect garbage, has failed ("AST constructor recursion depth mismatch").
import schemathesis.specs.openapi.schemas
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

# A body of octets: what is generated is sent as it is.
schemathesis.serializer.alias("application/zip", "application/octet-stream")


def no_bug_is_met(_context: Any, response: Any, _case: schemathesis.Case) -> None:
    """500 is a bug of ours, declared or not; a declared 502 or 503 is a device that does not answer."""
    assert response.status_code != 500, response.text


CHECKS: list[CheckFunction] = [
    no_bug_is_met,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


class Fuzzer:
    """Sends generated requests to a running server.

    `sent` counts them by status, `answered` by operation, `failures` says what was wrong. Each operation gets at least
    LEAST requests right and wrong, however short the time.
    """

    LEAST = 2

    def __init__(
        self, url: str, headers: Mapping[str, str], *, skip: Callable[[str, str], bool], seed: int | None = None
    ) -> None:
        schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
        operations = [result.ok() for result in schema.get_all_operations()]
        self._operations = [o for o in operations if not skip(o.method.upper(), o.path)]
        self._headers = dict(headers)
        self._url = url
        self._seed = seed
        self._known: dict[str, list[str]] = {}
        self.sent: dict[int, int] = {}
        self.answered: dict[str, int] = {name(operation): 0 for operation in self._operations}
        self.failures: list[str] = []

    def learn(self) -> None:
        """Read every list, and note the ids in it under the names that paths and bodies have for them."""
        with httpx2.Client(base_url=self._url, headers=self._headers, timeout=20) as http:
            for operation in self._operations:
                if operation.method.upper() != "GET" or "{" in operation.path:
                    continue
                answer = http.get(operation.path)
                is_list = answer.is_success and answer.headers["content-type"].startswith("application/json")
                items = answer.json().get("items", []) if is_list else []
                for field, value in (pair for item in items for pair in item.items()):
                    if field.endswith(("_id", "_key")) and isinstance(value, str):
                        self._known.setdefault(field, []).append(value)

    def run(self, *, budget_s: float, examples: int = 20) -> None:
        """Valid and invalid requests to every operation; the time is shared evenly between them.

        hypothesis parses source as it goes; garbage that is collected in the middle of that fails it, as above.
        """
        gc.disable()
        try:
            self._run(budget_s, examples)
        finally:
            gc.enable()

    def _run(self, budget_s: float, examples: int) -> None:
        modes = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        share_s = budget_s / max(1, len(self._operations) * len(modes))
        for operation in self._operations:
            for mode in modes:
                try:
                    gc.collect(1)
                    strategy = operation.as_strategy(generation_mode=mode)
                    self._probe(operation, strategy, time.monotonic() + share_s, examples)
                except hypothesis.errors.Unsatisfiable:
                    continue  # an operation without parameters and body has no invalid request
                except FailureGroup as group:
                    self._note(operation, "; ".join(str(error) for error in group.exceptions))
                except Exception as error:
                    self._note(operation, repr(error))

    def _probe(self, operation: Any, strategy: Any, deadline: float, examples: int) -> None:
        least = self.answered[name(operation)] + self.LEAST

        @hypothesis.given(case=strategy, cast=hypothesis.strategies.integers(0, 2**32 - 1))
        @hypothesis.settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=self._seed is None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def probe(case: schemathesis.Case, cast: int) -> None:
            # Everything is drawn before the clock is looked at: the same choices must draw the same data in every run.
            dice = random.Random(cast)
            if time.monotonic() < deadline or self.answered[name(operation)] < least:
                if dice.random() < 0.5:
                    self._name_what_is_there(case, dice)
                response = case.call_and_validate(headers=self._headers, checks=CHECKS, timeout=20)
                self.sent[response.status_code] = self.sent.get(response.status_code, 0) + 1
                self.answered[name(operation)] += 1

        (probe if self._seed is None else hypothesis.seed(self._seed)(probe))()

    def _name_what_is_there(self, case: schemathesis.Case, dice: random.Random) -> None:
        for given in (case.path_parameters, case.query, case.body):
            if isinstance(given, dict):
                for field in sorted(given.keys() & self._known.keys()):
                    given[field] = dice.choice(self._known[field])

    def _note(self, operation: Any, what: str) -> None:
        self.failures.append(f"{name(operation)}: {what}")


def name(operation: Any) -> str:
    return f"{operation.method.upper()} {operation.path}"
