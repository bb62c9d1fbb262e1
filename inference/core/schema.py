"""The JSON Schema of the evidence record, made from its dataclasses.

    python -m inference.core.schema > docs/evidence-record.schema.json

renews the published one; a test compares the two. Needs pydantic, which the program itself does not.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from inference.core.records import EvidenceRecord


def evidence_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12. Fields with a default are not required, so that schema 1 fits as well."""
    from pydantic import TypeAdapter

    made = TypeAdapter(EvidenceRecord).json_schema(mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"Evidence record, schema {EvidenceRecord.schema}",
        **{key: value for key, value in made.items() if key != "title"},
    }


def main() -> None:
    sys.stdout.write(json.dumps(evidence_schema(), indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
