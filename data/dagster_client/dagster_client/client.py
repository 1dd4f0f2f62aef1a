"""One question to Dagster's webserver, and its answer.

Belongs here: HTTP and the envelope of GraphQL. Does not: the questions (queries.py), or what an answer means.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, Request, build_opener, urlopen

_DAGSTER = b"dagster"  # the key dagster_webserver_version, which only Dagster's answer has


class Unreachable(Exception):
    """The webserver did not answer, or not with what was asked."""


@dataclass(frozen=True)
class Client:
    """Asks one webserver."""

    url: str
    timeout_seconds: float = 15.0

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Return the answer's `data`. Raises Unreachable."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = Request(f"{self.url}/graphql", data=body, headers={"Content-Type": "application/json"})  # noqa: S310
        try:
            with urlopen(request, timeout=self.timeout_seconds) as answer:  # noqa: S310
                parsed = json.load(answer)
        except HTTPError as exc:
            parsed = _refusal(exc)
        except (URLError, HTTPException, OSError, ValueError) as exc:
            raise Unreachable(f"{self.url}: {getattr(exc, 'reason', exc)}") from None
        if parsed.get("errors"):
            raise Unreachable(f"{self.url}: {parsed['errors'][0]['message']}")
        data: dict[str, Any] = parsed["data"]
        return data


def _refusal(answer: HTTPError) -> dict[str, Any]:
    """Return the body of an answer other than 200; GraphQL gives its reason there, a proxy does not."""
    try:
        body: dict[str, Any] = json.load(answer)
    except ValueError:
        return {"errors": [{"message": str(answer.reason)}]}
    return body


def answers(url: str, *, timeout_seconds: float = 2.0) -> bool:
    """Return whether a Dagster webserver answers at this address; whatever else listens there does not count.

    Asked directly: a probe of this machine must not go through a company's proxy.
    """
    try:
        with build_opener(ProxyHandler({})).open(f"{url}/server_info", timeout=timeout_seconds) as answer:
            return answer.status == 200 and _DAGSTER in answer.read(4096)
    except (URLError, HTTPException, OSError, ValueError):
        return False
