"""One headless Chromium for all tests of a process."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path(__file__).with_name("chromium")


class Browser:
    """A page that is looked at."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self._process = process
        self.folder = folder

    def tell(self, what: str, **how: Any) -> Any:
        """Tell the browser something and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"what": what, **how}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the browser has ended"
        answer = json.loads(line)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def open(self, page: "str | Path", width: int = 1280, height: int = 900, scheme: str = "light") -> float:
        """Open a page, or its text; return how long that took, in milliseconds."""
        if isinstance(page, str):
            file = self.folder / "page.html"
            file.write_text(page)
            page = file
        took: float = self.tell("open", address=page.as_uri(), width=width, height=height, scheme=scheme)
        return took

    def open_cold(self, page: Path, width: int = 1280, height: int = 900) -> dict[str, float]:
        """Open a page in a browser of its own, fresh; return when it was ``ready`` and ``painted``, in milliseconds."""
        times: dict[str, float] = self.tell("cold", address=page.as_uri(), width=width, height=height)
        return times

    def evaluate(self, code: str) -> Any:
        """Return the value of an expression in the page."""
        return self.tell("evaluate", code=code)

    def text(self, selector: str) -> str:
        """Return the text that is seen of an element."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).innerText"))

    def texts(self, selector: str) -> list[str]:
        """Return the texts that are seen of all such elements."""
        found: list[str] = self.evaluate(
            f"[...document.querySelectorAll({json.dumps(selector)})].map((one) => one.innerText)"
        )
        return found

    def press(self, *keys: str) -> None:
        """Press keys, one after another."""
        for key in keys:
            self.tell("press", key=key)

    def shot(self, name: str, *, full: bool = True) -> Path:
        """Take a picture of the page."""
        return Path(self.tell("shot", path=str(self.folder / f"{name}.png"), full=full))

    @property
    def problems(self) -> list[str]:
        """What the page complained of, and what it asked for."""
        found: list[str] = self.tell("problems")
        return found


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Install the browser at its locked version, and start it."""
    if shutil.which("npm") is None:
        pytest.skip("there is no npm on the PATH, which installs Chromium")
    folder = tmp_path_factory.mktemp("chromium")
    for file in CHROMIUM.iterdir():
        shutil.copy(file, folder)
    install = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"]
    installed = subprocess.run(install, cwd=folder, capture_output=True, text=True)
    if installed.returncode != 0:
        pytest.skip(f"npm cannot install Chromium: {installed.stderr.strip().splitlines()[-1:]}")
    with subprocess.Popen(
        ["node", "drive.mjs"],
        cwd=folder,
        env={**os.environ, "TMPDIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Browser(process, folder)
        assert process.stdin is not None
        process.stdin.close()
