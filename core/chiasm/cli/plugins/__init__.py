"""`chiasm plugins`: what is installed, and what its authors need. One file a command; none loads torch by itself."""

from __future__ import annotations

import typer

from .check import check_plugin
from .doctor import doctor
from .listing import list_plugins
from .new import new_plugin
from .show import show_plugin

app = typer.Typer(no_args_is_help=True)


@app.callback()
def plugins() -> None:
    """What the platform can do here: the installed plugins, and tools for whoever writes one."""


app.command("list")(list_plugins)
app.command("show")(show_plugin)
app.command("check")(check_plugin)
app.command("new")(new_plugin)
app.command("doctor")(doctor)
