"""The commands. One file each; this one only names them."""

import typer

from edgecache import __version__
from edgecache.cli.demo import demo
from edgecache.cli.doctor import doctor
from edgecache.cli.explain import explain
from edgecache.cli.purge import purge
from edgecache.cli.serve import serve
from edgecache.cli.verify import verify
from edgecache.cli.warm import warm

app = typer.Typer(
    name="edgecache",
    help="A caching edge server for media on private S3-compatible storage.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
app.command()(serve)
app.command()(purge)
app.command()(demo)
app.command()(warm)
app.command()(explain)
app.command()(doctor)
app.command()(verify)


def show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgecache {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: bool = typer.Option(
        False, "--version", callback=show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


def main() -> None:
    app()
