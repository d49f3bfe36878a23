"""What our self-contained pages share: the policy by which a browser runs nothing in them but their own parts."""

from __future__ import annotations

import base64
import hashlib


def content_security_policy(style: str, script: str = "") -> str:
    """Write the policy that allows a page its one inline style and script, by their hashes, and nothing else.

    Args:
        style: the text between the style's tags.
        script: the text between the script's tags, or "" where there is none.
    """
    parts = ["default-src 'none'", f"style-src {_hash(style)}", "base-uri 'none'", "form-action 'none'"]
    if script:
        parts.insert(1, f"script-src {_hash(script)}")
    return "; ".join(parts)


def _hash(text: str) -> str:
    """The source expression by which a policy allows exactly this text."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
