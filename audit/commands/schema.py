"""`steelyard schema`: the JSON Schema of a plan."""

from __future__ import annotations

import argparse

from steelyard.audit.console import Console

HELP = "print the JSON Schema of a plan, for editors"


def configure(parser: argparse.ArgumentParser) -> None:
    """`schema` takes no arguments."""


def execute(args: argparse.Namespace, console: Console) -> int:
    """Print the schema."""
    from steelyard.audit.plan_schema import json_schema

    console.json(json_schema())
    return 0
