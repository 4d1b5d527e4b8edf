"""Says what upstream's src/fetch.py would download, without downloading it.

Run in a checkout. It drives upstream's own ResourceFetcher with its download
replaced by one that takes notes and fails, so that every mirror is asked.
Prints a JSON list of {"package", "key", "path", "url"} in upstream's order.
"""

import glob
import json
import sys

sys.path.insert(0, "src")

import fetch  # noqa: E402  upstream's

plan = []
at = {}


def note(*words):
    """Stands in for fetch.py's print, which is how it says where it is."""
    text = " ".join(str(w) for w in words).strip()
    if text.startswith("Parsing: "):
        at["package"] = text.removeprefix("Parsing: ")
    if text.startswith("Validating: "):
        at["key"] = text.removeprefix("Validating: ")


def download(url, path):
    plan.append({**at, "path": str(path), "url": url})
    raise OSError("only taking notes")


fetch.print = note
fetch.ResourceFetcher.download = staticmethod(download)
for package in sorted(glob.glob("packages/*/*/package.toml")):
    fetch.ResourceFetcher(package).fetch_resource()
json.dump(plan, sys.stdout)
