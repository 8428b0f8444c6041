"""index.py WHEELS SIMPLE: moves the wheels of a folder into a PEP 503 index, SIMPLE, that any file server can serve."""

import hashlib
import html
import re
import sys
from pathlib import Path


def page(title: str, links: list[tuple[str, str]]) -> str:
    """A page of the index: (target, text) of each link."""
    anchors = "".join(f'<a href="{html.escape(target)}">{html.escape(text)}</a><br>\n' for target, text in links)
    return f"<!DOCTYPE html>\n<html><head><title>{html.escape(title)}</title></head><body>\n{anchors}</body></html>\n"


def project_of(wheel: str) -> str:
    """The normalized name of the project that a wheel belongs to."""
    return re.sub(r"[-_.]+", "-", wheel.split("-", 1)[0]).lower()


def make(wheels: Path, simple: Path) -> None:
    """Moves the wheels in and writes the pages."""
    projects: dict[str, list[tuple[str, str]]] = {}
    for wheel in sorted(wheels.glob("*.whl")):
        project = project_of(wheel.name)
        (simple / project).mkdir(parents=True, exist_ok=True)
        with wheel.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        wheel.rename(simple / project / wheel.name)
        projects.setdefault(project, []).append((f"{wheel.name}#sha256={digest}", wheel.name))
    for project, links in projects.items():
        (simple / project / "index.html").write_text(page(project, links))
    (simple / "index.html").write_text(page("simple", [(f"{project}/", project) for project in projects]))


if __name__ == "__main__":
    make(Path(sys.argv[1]), Path(sys.argv[2]))
