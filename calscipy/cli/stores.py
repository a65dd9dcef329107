"""``calscipy verify | clean``: whether stores are whole, and what interrupted saves left."""

from __future__ import annotations

import argparse
import json
from typing import Any

from calscipy.cli.arguments import days
from calscipy.io.paths import local_path
from calscipy.io.store.clean import Leftover, clean, find_stages
from calscipy.io.store.verify import verify_store


def add_commands(commands: Any) -> None:
    """Add the commands to a command line."""
    verify = commands.add_parser(
        "verify",
        help="read every byte of a store and compare it with its checksum",
        description=(
            "Read every file of a store and compare it with the checksum from when it was saved. "
            "The exit code is 1 if a file is missing, cut, changed or not of the store."
        ),
    )
    verify.add_argument(
        "store", type=local_path, metavar="STORE", help="zarr store, folder or zip file"
    )
    verify.set_defaults(run=_verify)

    cleaning = commands.add_parser(
        "clean",
        help="list or remove what interrupted saves left",
        description=(
            "List what interrupted saves and conversions left in a folder. With --remove, remove "
            "what bears calscipy's marks and nobody works on: saving again then starts anew."
        ),
    )
    cleaning.add_argument(
        "folder", type=local_path, metavar="FOLDER", help="where stores were saved"
    )
    cleaning.add_argument("--remove", action="store_true", help="remove what is abandoned")
    cleaning.add_argument(
        "--older-than",
        type=days,
        default=0.0,
        metavar="DAYS",
        help="only what was not written to for so many days",
    )
    cleaning.add_argument(
        "--force",
        action="store_true",
        help=(
            "also what another computer may still work on, and temporary files of exports, which "
            "are known by their names alone"
        ),
    )
    cleaning.set_defaults(run=_clean)
    for command in (verify, cleaning):
        command.add_argument("--json", action="store_true", help="write JSON for programs")


def _verify(arguments: argparse.Namespace) -> int:
    found = verify_store(arguments.store)
    if arguments.json:
        facts = {
            "path": str(found.path),
            "ok": found.ok,
            "checksums": found.checksums,
            "files": found.files,
            "bytes": found.nbytes,
            "seconds": round(found.seconds, 6),
            "bad": [{"path": f.path, "flaw": f.flaw, "detail": f.detail} for f in found.bad],
        }
        print(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        for file in found.bad:
            print(f"{file.path}: {file.detail}")
        print(found)
    return 0 if found.ok else 1


def _clean(arguments: argparse.Namespace) -> int:
    chosen = clean(
        arguments.folder,
        older_than=arguments.older_than,
        dry_run=not arguments.remove,
        force=arguments.force,
    )
    paths = {leftover.path for leftover in chosen}
    left = [item for item in find_stages(arguments.folder) if item.path not in paths]
    if arguments.json:
        facts = {
            "folder": str(arguments.folder.absolute()),
            "removed" if arguments.remove else "would_remove": list(map(_facts, chosen)),
            "left": list(map(_facts, left)),
        }
        print(json.dumps(facts, indent=2, ensure_ascii=False))
        return 0
    for leftover in chosen:
        print(_line("removed" if arguments.remove else "abandoned", leftover))
    for leftover in left:
        print(_line("left", leftover))
    if not chosen and not left:
        print(f"{arguments.folder}: nothing is left of interrupted saves")
    elif chosen and not arguments.remove:
        print("Nothing was removed; --remove removes what is abandoned.")
    return 0


def _facts(leftover: Leftover) -> dict[str, Any]:
    return {
        "path": str(leftover.path.absolute()),
        "target": leftover.target,
        "state": leftover.state,
        "detail": leftover.detail,
        "bytes": leftover.nbytes,
        "age_s": round(leftover.age, 3),
    }


def _line(word: str, leftover: Leftover) -> str:
    hours = leftover.age / 3600
    age = f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:.1f} days"
    size = f"{leftover.nbytes / 1e6:.1f} MB"
    return f"{word}  {leftover.path.name}  {size}, {age} old: {leftover.detail}"
