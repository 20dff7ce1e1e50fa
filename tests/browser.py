"""A real Chromium for tests: the machine's own, or the one that playwright has brought; without one its tests are skipped."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")

#: Finds text whose contrast is under what WCAG AA asks for: 4.5, or 3 where it is large.
CONTRAST = """() => {
  const channel = (c) => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const read = (text) => {
    const srgb = text.startsWith("color(srgb");
    const parts = text.match(/[\\d.]+/g).map(Number);
    return [...parts.slice(0, 3).map((c) => srgb ? c * 255 : c), parts.length > 3 ? parts[3] : 1];
  };
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = read(getComputedStyle(one).backgroundColor);
      if (colour[3] > 0.99) return colour;
    }
    return [255, 255, 255, 1];
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || element.closest("svg") || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const [one, other] = [light(read(style.color)), light(ground(element))].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const least = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
    const contrast = (one + 0.05) / (other + 0.05);
    if (contrast < least) found.push(`${element.tagName}.${element.className}: ${contrast.toFixed(2)}`);
  }
  return [...new Set(found)];
}"""


def find_chromium() -> str | None:
    """Return the path of a Chromium, None where there is none."""
    own = next((path for name in NAMES if (path := shutil.which(name))), None)
    if own is not None:
        return own
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playing:
        path = playing.chromium.executable_path
    return path if Path(path).exists() else None


@contextmanager
def chromium() -> Iterator[Any]:
    """Lend a browser, or skip the test with the reason."""
    path = find_chromium()
    if path is None:
        pytest.skip("no Chromium: apt-get install chromium, or playwright install chromium")
    from playwright.sync_api import sync_playwright

    # Chromium's own sandbox refuses root, as which containers run; the pages are our own.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playing:
        browser = playing.chromium.launch(executable_path=path, args=options)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def tab(browser: Any, *, complaints: list[str], **options: Any) -> Iterator[Any]:
    """Lend a page; what it complains of (errors of scripts, refusals of the policy, dialogs) is noted."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    context.set_default_timeout(90_000)
    page = context.new_page()

    def note_line(line: Any) -> None:
        if line.type in {"error", "warning"}:
            complaints.append(line.text)

    def note_dialog(dialog: Any) -> None:
        complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    page.on("console", note_line)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", note_dialog)
    try:
        yield page
    finally:
        context.close()
