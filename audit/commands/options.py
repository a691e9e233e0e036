"""Arguments that several commands take."""

from __future__ import annotations

import argparse

__all__ = ["add_format", "add_plan"]


def add_plan(parser: argparse.ArgumentParser) -> None:
    """The plan file."""
    parser.add_argument("plan", metavar="PLAN", nargs="?", default="audit.yaml", help="the plan (default: audit.yaml)")


def add_format(parser: argparse.ArgumentParser) -> None:
    """For people or for programs."""
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json for a program to read")
