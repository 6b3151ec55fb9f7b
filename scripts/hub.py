"""The tap's definition for Meltano Hub, generated from the tap itself.

``python -m scripts.docs`` writes it. Keys and settings have the order of the Hub's own formatter.
"""

from __future__ import annotations

from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import yaml

from tap_prolific_export.settings import SETTINGS, config_jsonschema
from tap_prolific_export.tap import TapProlificExport

ROOT = Path(__file__).resolve().parent.parent
NEEDS_TOKEN = ("batch_ids", "collection_ids", "workspace_ids")


def definition() -> dict[str, Any]:
    """Return the definition in the form of ``_data/meltano/extractors/<name>/<variant>.yml``."""
    name = TapProlificExport.name
    repository = _urls()["Source"]
    return {
        "name": name,
        "namespace": name.replace("-", "_"),
        # The Hub names a variant after the owner of its repository.
        "variant": repository.split("/")[-2],
        "label": "Prolific",
        "description": "Answers, annotations and uploaded files that people have given in "
        "collections and batches of Prolific's Task Builder.",
        "pip_url": name,
        "executable": name,
        "repo": repository,
        "docs": f"{repository}/blob/main/README.md",
        "logo_url": f"/assets/logos/extractors/{name.removeprefix('tap-')}.png",
        "domain_url": "https://www.prolific.com",
        "keywords": ["api", "meltano_sdk", "prolific", "surveys", "task builder"],
        "maintenance_status": "beta",
        "capabilities": sorted(each.value for each in TapProlificExport.capabilities),
        "supported_python_versions": TapProlificExport.get_supported_python_versions(),
        "settings_preamble": "At least one of `collection_ids`, `batch_ids`, `workspace_ids` and "
        "`archive_paths` is needed; a token, too, unless `archive_paths` is the only one.",
        "settings_group_validation": [
            *(["api_token", source] for source in NEEDS_TOKEN),
            ["archive_paths"],
        ],
        "settings": _settings(repository),
    }


def hub_file() -> str:
    """Return the definition as a file."""
    return yaml.safe_dump(definition(), allow_unicode=True)


def _urls() -> dict[str, str]:
    urls = metadata(TapProlificExport.name).get_all("Project-URL") or []
    return dict(url.split(", ", maxsplit=1) for url in urls)


def _settings(repository: str) -> list[dict[str, Any]]:
    schema = config_jsonschema()
    TapProlificExport.append_builtin_config(schema)
    settings = [
        _setting(name, described, repository) for name, described in schema["properties"].items()
    ]
    return sorted(settings, key=lambda setting: setting["name"])


def _setting(name: str, schema: dict[str, Any], repository: str) -> dict[str, Any]:
    [type_] = (each for each in schema["type"] if each != "null")
    # The Hub needs absolute links and shows labels without Markdown.
    description = schema["description"].replace("](docs/", f"]({repository}/blob/main/docs/")
    label = schema["title"].replace("`", "")
    setting = {"name": name, "label": label, "description": description, "kind": type_}
    if schema.get("format") == "date-time":
        setting["kind"] = "date_iso8601"
    if "enum" in schema:
        setting |= {"kind": "options", "options": _options(name, schema["enum"])}
    if schema.get("secret"):
        setting["sensitive"] = True
    if "default" in schema:
        setting["value"] = schema["default"]
    for ours in SETTINGS:
        # Not in Meltano's `env` field: Meltano writes that variable but does not read it.
        if ours.name == name and ours.environment:
            setting["description"] += f" Unless set, `${ours.environment}` is read."
    return setting


def _options(name: str, values: list[str | None]) -> list[dict[str, str]]:
    """Return a setting's options, with their labels from ``meltano.yml``."""
    project = yaml.safe_load((ROOT / "meltano.yml").read_text(encoding="utf-8"))
    [extractor] = project["plugins"]["extractors"]
    [setting] = (each for each in extractor["settings"] if each["name"] == name)
    labels = {option["value"]: option["label"] for option in setting["options"]}
    return [{"label": labels[value], "value": value} for value in values if value is not None]
