"""A headless Chromium driven through a pipe: pages are opened, keys pressed, pixels looked at.

The browser speaks the DevTools protocol on two pipes (``--remote-debugging-pipe``), which takes no
package, no port, and ends the browser when the pipes close, however the tests end.
"""

import base64
import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--disable-sync",
    "--mute-audio",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    # No name is found but this machine's own: whatever a page asks of the network fails.
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--remote-debugging-pipe",
)
# The browser expects its pipes at the numbers 3 and 4.
_LAUNCH = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); " + (
    "os.execv(sys.argv[3], sys.argv[3:])"
)
_KEYS = {
    "ArrowUp": 38, "ArrowDown": 40, "ArrowLeft": 37, "ArrowRight": 39,
    "PageUp": 33, "PageDown": 34, "Home": 36, "End": 35, " ": 32,
}  # fmt: skip
# Bokeh draws inside shadow roots, which document.querySelector does not look into.
_HELPERS = """
window.every = (selector, root = document) => {
  const found = [...root.querySelectorAll(selector)];
  for (const element of root.querySelectorAll("*"))
    if (element.shadowRoot) found.push(...window.every(selector, element.shadowRoot));
  return found;
};
window.model = (name) => Bokeh.documents[0].get_model_by_name(name);
window.place = (name, x, y) => {  // where a value of a figure lies on the screen
  const view = Bokeh.index.find_one_by_id(window.model(name).id);
  const box = view.canvas_view.el.getBoundingClientRect();
  const frame = view.frame;
  return [box.left + frame.x_scale.compute(x), box.top + frame.y_scale.compute(y)];
};
"""


def find_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, names) if path), None)


class Browser:
    """One headless browser; ``close`` ends it and all that it started."""

    def __init__(self, folder: Path) -> None:
        program = find_chromium()
        assert program is not None
        command_out, self._commands = os.pipe()
        self._answers, answers_in = os.pipe()
        arguments = [program, *FLAGS, f"--user-data-dir={folder}", "--window-size=1200,900"]
        launch = [sys.executable, "-S", "-E", "-c", _LAUNCH, str(command_out), str(answers_in)]
        self._process = subprocess.Popen(
            [*launch, *arguments],
            pass_fds=(command_out, answers_in),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(command_out)
        os.close(answers_in)
        self._buffer = b""
        self._number = 0
        self._replies: dict[int, dict[str, Any]] = {}
        self.pages: dict[str, Page] = {}

    def send(
        self, method: str, session: str | None = None, timeout: float = 60.0, **parameters: Any
    ) -> dict[str, Any]:
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._commands, data) :]
        deadline = time.monotonic() + timeout
        while number not in self._replies:
            if not self._read(deadline - time.monotonic()):
                raise TimeoutError(f"Chromium did not answer {method} within {timeout} s")
        reply = self._replies.pop(number)
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error']}")
        return reply["result"]

    def wait(self, seconds: float) -> None:
        """Take in what the pages report for a while."""
        deadline = time.monotonic() + seconds
        while self._read(deadline - time.monotonic()):
            pass

    def _read(self, seconds: float) -> bool:
        """Take in what came; False if nothing did in time."""
        ready, _, _ = select.select([self._answers], [], [], max(0.0, seconds))
        if not ready:
            return False
        data = os.read(self._answers, 2**20)
        if not data:
            raise RuntimeError("Chromium has gone")
        *messages, self._buffer = (self._buffer + data).split(b"\0")
        for message in messages:
            self._take(json.loads(message))
        return True

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._replies[message["id"]] = message
        elif message.get("sessionId") in self.pages:
            self.pages[message["sessionId"]].take(message["method"], message["params"])

    def open(self, address: str | Path, *, width: int = 1200, height: int = 900) -> "Page":
        """Open a file or an address in a tab of its own and wait until Bokeh has drawn it."""
        if isinstance(address, Path):
            address = address.resolve().as_uri()
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        page = Page(self, target, attached["sessionId"])
        self.pages[page.session] = page
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.send(f"{domain}.enable")
        page.send("Page.addScriptToEvaluateOnNewDocument", source=_HELPERS)
        page.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        page.send("Page.navigate", url=address)
        return page

    def close(self) -> None:
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):
            self.send("Browser.close", timeout=5)
        for end in (self._commands, self._answers):
            os.close(end)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(5)


class Page:
    """One tab; remembers what it asked for and what went wrong in it."""

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self.browser, self.target, self.session = browser, target, session
        self.requests: list[str] = []
        self.failures: list[str] = []

    def take(self, method: str, event: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(event["request"]["url"])
        elif method == "Network.webSocketCreated":
            self.requests.append(event["url"])
        elif method == "Runtime.exceptionThrown":
            details = event["exceptionDetails"]
            text = details.get("exception", {}).get("description", details["text"])
            self.failures.append(text)
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "assert"):
            self.failures.append(" ".join(str(part.get("value", part)) for part in event["args"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] == "error":
            entry = event["entry"]
            self.failures.append(f"{entry['text']} {entry.get('url', '')}".strip())

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self.browser.send(method, self.session, **parameters)

    def js(self, expression: str) -> Any:
        """Value of an expression in the page."""
        result = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return result["result"].get("value")

    def until(self, expression: str, timeout: float = 60.0) -> Any:
        """Wait for an expression to become true; its value."""
        deadline = time.monotonic() + timeout
        guarded = f"(() => {{ try {{ return {expression} }} catch (e) {{ return null }} }})()"
        while not (value := self.js(guarded)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"never true: {expression}; failures: {self.failures}")
            self.browser.wait(0.02)
        return value

    def drawn(self, name: str, timeout: float = 60.0) -> "Page":
        """Wait until the figure of a name has been painted."""
        there = f"place({name!r}, 0, 0).every(Number.isFinite)"
        self.until(f"window.Bokeh && Bokeh.documents.length && {there}", timeout)
        self.settle()
        return self

    def settle(self) -> None:
        """Wait for two frames of the screen: what was asked for is drawn then."""
        self.js("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def key(self, name: str) -> None:
        code = {"key": name, "code": name, "windowsVirtualKeyCode": _KEYS[name]}
        self.send("Input.dispatchKeyEvent", type="rawKeyDown", **code)
        self.send("Input.dispatchKeyEvent", type="keyUp", **code)

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def move(self, x: float, y: float) -> None:
        self.mouse("mouseMoved", x - 2, y)
        self.mouse("mouseMoved", x, y)
        self.settle()

    def click(self, x: float, y: float) -> None:
        self.move(x, y)
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=1)
        self.settle()

    def drag(self, start: tuple[float, float], stop: tuple[float, float], steps: int = 5) -> None:
        self.move(*start)
        self.mouse("mousePressed", *start, button="left", clickCount=1, buttons=1)
        for step in range(1, steps + 1):
            x, y = (a + (b - a) * step / steps for a, b in zip(start, stop, strict=True))
            self.mouse("mouseMoved", x, y, button="left", buttons=1)
        self.mouse("mouseReleased", *stop, button="left", clickCount=1)
        self.settle()

    def place(self, name: str, x: float, y: float) -> tuple[float, float]:
        """Where a value of a figure lies on the screen."""
        left, top = self.js(f"place({name!r}, {float(x)}, {float(y)})")
        return left, top

    def middle(self, selector: str, number: int = 0) -> tuple[float, float]:
        """Middle of the n-th element that a selector finds, in shadow roots too."""
        box = self.js(
            f"(() => {{ const box = every({selector!r})[{number}].getBoundingClientRect(); "
            "return [box.left + box.width / 2, box.top + box.height / 2] })()"
        )
        return box[0], box[1]

    def tooltip(self) -> str:
        """What the tooltips that are shown say, one line for each row."""
        return self.js(
            "every('.bk-Tooltip').filter(tip => tip.getClientRects().length)"
            ".flatMap(tip => every('.bk-tooltip-row-label', tip.shadowRoot)"
            ".map(label => label.textContent + label.nextSibling.textContent.trim())).join('\\n')"
        )

    def text(self) -> str:
        """All text of the page that is not drawn on a canvas."""
        return self.js("every('*').filter(e => e.shadowRoot).map(e => e.shadowRoot.textContent)"
                       ".join('\\n') + document.body.innerText")  # fmt: skip

    def screenshot(self, path: Path) -> bytes:
        data = base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])
        path.write_bytes(data)
        return data

    def close(self) -> None:
        self.browser.send("Target.closeTarget", targetId=self.target)
        self.browser.pages.pop(self.session, None)
