"""The command ``docs``: open the documentation that belongs to the installed version."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from adamcmp.cli.app import Debug, Json, add_json, print_line


def docs(
    topic: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TOPIC…]", help="Page, command, setting or words to search for. Default: first page."),
    ] = None,
    url: Annotated[bool, typer.Option("--url", help="Print the address; open no browser.")] = False,
    json_: Json = False,
    debug: Debug = False,
) -> None:
    """Open the documentation of this version in the browser."""
    from adamcmp.documentation import find_page, site_folder

    words = " ".join(topic or ())
    page = find_page(words)
    address = page.address(site_folder())
    add_json(title=page.title, url=address)
    print_line(f"{page.title}   {address}")
    if not (url or json_) and not webbrowser.open(address):
        print_line("No browser could be opened here; open the address in one.")
