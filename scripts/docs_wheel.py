"""Build hook: the documentation site becomes part of the wheel, so that ``adamcmp docs`` opens the version's own."""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class DocumentationHook(BuildHookInterface):  # type: ignore[type-arg]
    """Builds the site with MkDocs, which ``build-system.requires`` installs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the site to the wheel; an editable installation uses the one that scripts/docs builds."""
        if version == "editable":
            return
        if find_spec("mkdocs") is None or find_spec("mkdocstrings") is None:
            self.app.display_warning("the wheel has no documentation: mkdocs-material, mkdocstrings are not installed")
            return
        from mkdocs.commands.build import build
        from mkdocs.config import load_config

        self._folder = tempfile.TemporaryDirectory(prefix="adamcmp-docs-")
        site = Path(self._folder.name) / "site"
        build(load_config(str(Path(self.root) / "mkdocs.yml"), site_dir=str(site)))
        build_data["force_include"][str(site)] = "adamcmp/site"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Delete the built site, which the wheel now holds."""
        if folder := getattr(self, "_folder", None):
            folder.cleanup()
