"""A browser without JavaScript for the console's tests: it keeps cookies, finds forms in pages, and sends them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, TypeVar

import httpx2

from orchestrator.contracts.access import Role
from tests.api_stage import SECRETS, ApiStage, api_stage

T = TypeVar("T")

#: Elements without an end tag.
VOID = frozenset({"meta", "link", "img", "input", "br", "line", "rect", "circle", "path"})


class Document(HTMLParser):
    """A page, read as a browser reads it: its elements, its text, its forms."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.forms: list[tuple[dict[str, str], dict[str, str]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.elements.append((tag, found))
        if tag == "form":
            self.forms.append((found, {}))
        elif tag == "input" and self.forms and "name" in found and found.get("type") != "checkbox":
            self.forms[-1][1][found["name"]] = found.get("value", "")

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        """All that stands on the page."""
        return " ".join(" ".join(self.texts).split())

    def form(self, action: str, **hidden: str) -> dict[str, str]:
        """Return the fields of the first form that goes there and has these, as they stand on the page."""
        for found, fields in self.forms:
            if found.get("action") == action and hidden.items() <= fields.items():
                return dict(fields)
        raise AssertionError(f"no form to {action}; there are {[found.get('action') for found, _ in self.forms]}")


@dataclass
class Browser:
    """One browser; `send` also does what no page of ours would."""

    api: ApiStage
    cookies: dict[str, str] = field(default_factory=dict)

    async def send(self, method: str, path: str, form: Any = None, **headers: str) -> httpx2.Response:
        """Make a request and keep the cookies of the answer; a redirect is not followed."""
        kept = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        more = {"data": form} if form is not None else {}
        sent = {**({"cookie": kept} if kept else {}), **headers}
        answer = await self.api.http.request(method, path, headers=sent, follow_redirects=False, **more)
        self.api.http.cookies.clear()  # the caller's own jar is shared by all browsers
        for line in answer.headers.get_list("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            value = value.strip('"')
            if value:
                self.cookies[name] = value
            else:
                self.cookies.pop(name, None)
        return answer

    async def open(self, path: str, status: int = 200) -> Document:
        """Return a page; redirects are followed."""
        answer = await self.send("GET", path)
        for _ in range(3):
            if answer.status_code not in {303, 307}:
                break
            answer = await self.send("GET", answer.headers["location"])
        assert answer.status_code == status, answer.text[-2000:]
        return Document(answer.text)

    async def submit(self, page: Document, action: str, *, hidden: Any = None, **fields: Any) -> Document:
        """Send a form of a page, filled in, and return the page that it leads to."""
        answer = await self.send("POST", action, {**page.form(action, **(hidden or {})), **fields})
        assert answer.status_code == 303, answer.text[-2000:]
        return await self.open(answer.headers["location"])

    async def log_in(self, role: Role) -> Document:
        """Log in with the token of a role."""
        page = await self.open("/console/login")
        return await self.submit(page, "/console/login", token=SECRETS[role])


async def browse(api: ApiStage, role: Role = "operator") -> Browser:
    """Return a browser of somebody with this role."""
    browser = Browser(api)
    await browser.log_in(role)
    return browser


def play(store_url: str, act: Callable[[ApiStage, Browser], Awaitable[T]], **more: Any) -> T:
    """Do something with the console as ada, whom no login asks; return what it returns."""

    async def run() -> T:
        async with api_stage(store_url, open_actor="ada", **more) as api:
            return await act(api, Browser(api))

    return asyncio.run(run())
