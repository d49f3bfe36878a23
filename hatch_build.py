"""Builds the explorer's page into a wheel, in Python alone."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Page(BuildHookInterface):
    """Adds `multiview/web/explorer.html`, made from `multiview/web/src`; a checkout makes its own when it needs one."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page in a folder of its own, which leaves the sources untouched."""
        if version == "editable":
            return
        sys.path.insert(0, self.root)
        from multiview.web import explorer

        self.folder = tempfile.TemporaryDirectory()
        path = Path(self.folder.name, explorer.PAGE.name)
        path.write_text(explorer.page(), encoding="utf-8")
        build_data["force_include"][str(path)] = f"multiview/web/{path.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove the folder."""
        if version != "editable":
            self.folder.cleanup()
