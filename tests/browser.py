"""Chromium without a screen, driven over a pipe by its debugging protocol: nothing but the browser is needed."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--disable-background-networking",
         "--disable-component-update", "--no-first-run", "--hide-scrollbars")


def found() -> str | None:
    """The browser's path, if there is one."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def _pipes() -> tuple[tuple[int, int], int, int]:
    """The browser's ends (what it reads, what it writes), and ours (what we write, what we read). Its ends are numbered far above
    3 and 4, as which the browser will know them."""
    theirs_in, out = os.pipe()
    into, theirs_out = os.pipe()
    high = fcntl.fcntl(theirs_in, fcntl.F_DUPFD_CLOEXEC, 20), fcntl.fcntl(theirs_out, fcntl.F_DUPFD_CLOEXEC, 20)
    os.close(theirs_in)
    os.close(theirs_out)
    return high, out, into


class Browser:
    """One tab. ``console`` has what the page said or threw, ``requests`` every address it asked for."""

    def __init__(self, width: int = 1280, height: int = 900, *, dark: bool = False) -> None:
        self.console: list[str] = []
        self.requests: list[str] = []
        self._loaded = False
        self._number = 0
        self._rest = b""
        self._home = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)  # the browser may still write there
        their_ends, self._out, self._in = _pipes()
        command = [str(found()), *FLAGS, f"--user-data-dir={self._home.name}", f"--window-size={width},{height}", "about:blank"]
        start = f"import os, sys; os.dup2({their_ends[0]}, 3); os.dup2({their_ends[1]}, 4); os.execv(sys.argv[1], sys.argv[1:])"
        self._process = subprocess.Popen([sys.executable, "-c", start, *command], pass_fds=their_ends,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for end in their_ends:
            os.close(end)
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        if dark:
            self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: Any) -> None:
        self._process.terminate()
        self._process.wait(10)
        os.close(self._out)
        os.close(self._in)
        self._home.cleanup()

    def open(self, address: str) -> None:
        """Go there, and wait until it is loaded."""
        self._loaded = False
        self.call("Page.navigate", url=address)
        while not self._loaded:
            self._event(self._message())

    def run(self, script: str) -> Any:
        """The value of an expression on the page; a promise is waited for. What it throws is an AssertionError."""
        answer = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def key(self, name: str, code: int) -> None:
        """Press a key that is no letter."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code)

    def picture(self, path: str | Path, *, whole: bool = True) -> None:
        """A screenshot of the page as PNG."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        Path(path).write_bytes(base64.b64decode(data))

    def call(self, method: str, **parameters: Any) -> Any:
        return self._call(method, session=self._session, **parameters)

    def _call(self, method: str, session: str | None = None, **parameters: Any) -> Any:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._event(answer)

    def _message(self) -> Any:
        while b"\0" not in self._rest:
            more = os.read(self._in, 1 << 16)
            assert more, "the browser is gone"
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        return json.loads(text)

    def _event(self, message: Any) -> None:
        method, told = message.get("method"), message.get("params", {})
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.console.append(json.dumps(told["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" or method == "Log.entryAdded":
            self.console.append(json.dumps(told))
