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
        if not all(map(find_spec, ("mkdocs", "material", "mkdocstrings_handlers"))):
            self.app.display_warning(
                "the wheel has no documentation: install mkdocs-material and mkdocstrings[python] first, or build with "
                "isolation"
            )
            return
        from mkdocs.commands.build import build
        from mkdocs.config import load_config

        self._folder = tempfile.TemporaryDirectory(prefix="adamcmp-docs-")
        site = Path(self._folder.name) / "site"
        build(load_config(str(Path(self.root) / "mkdocs.yml"), site_dir=str(site), strict=True))
        build_data["force_include"][str(site)] = "adamcmp/site"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Delete the built site, which the wheel now holds."""
        if folder := getattr(self, "_folder", None):
            folder.cleanup()
