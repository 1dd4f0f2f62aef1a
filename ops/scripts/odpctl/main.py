"""The verbs and their arguments. Each does one thing of another module; failures are printed here and
nowhere else.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable, Sequence

from . import preflight, quality
from .checkout import PROFILES, Checkout
from .engine import probe
from .errors import EXIT_CODES, INTERRUPTED, OK, REFUSED, Failure
from .operate import Platform
from .start import Start, choose
from .terminal import Terminal


def main(argv: Sequence[str]) -> int:
    """Parse, do, and turn a Failure into its text and exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # ▸ on a terminal that knows only ASCII
    options, rest = parser().parse_known_args(argv)
    if rest and options.verb not in PASSING:
        options.usage(f"it takes no {' '.join(rest)}")
    try:
        return int(VERBS[options.verb](options, rest) or OK)
    except Failure as failure:
        print(failure.render(), file=sys.stderr)
        return failure.exit_code
    except KeyboardInterrupt:
        print("\nended by Ctrl-C; make status says what runs", file=sys.stderr)
        return INTERRUPTED


PASSING = (
    "api-key",
    "share-profile",
    "init-data-layers",
    "verify-data-layers",
    "odp",
    "prune",
    "seed",
    "test",
    "test-guarantees",
    "bench",
    "bench-full",
)


def parser() -> argparse.ArgumentParser:
    """`odp.py VERB [options]`; the verbs that run another program hand it every option they do not know."""
    top = argparse.ArgumentParser(
        prog="odp.py",
        description="The platform's verbs; `make help` lists them.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def add(name: str, text: str, *, add_help: bool = True) -> argparse.ArgumentParser:
        made = verbs.add_parser(
            name,
            help=text,
            description=text,
            epilog=EXIT_CODES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=add_help,
        )
        made.set_defaults(usage=made.error)
        return made

    add("start", "everything from preflight to a verified lake").add_argument(
        "--profile", default="", help=" | ".join(PROFILES)
    )
    add("doctor", "all checks of the preflight, and how large Dagster's databases and logs are").add_argument(
        "--profile", default="", help=" | ".join(PROFILES)
    )
    for name, text in (
        ("stop", "end containers and processes; data stays"),
        ("restart", "stop, then start the same profile"),
        ("ps", "containers and their state"),
        ("shell", "a shell with the lake at hand"),
        ("credentials", "print the secrets of .env"),
        ("api-key", "make, list or revoke keys of the API; arguments go to it"),
        ("share-profile", "print a Delta Sharing profile with a key of its own; arguments go to it"),
        ("dagster-ui", "print and open the address of Dagster"),
        ("minio-console", "print and open the address of the object store's console"),
        ("clean", "remove containers and networks; data stays"),
        ("odp", "the library's command line where the lake is; arguments go to it"),
        ("prune", "remove old runs from Dagster; --days and --runs go to it"),
        ("seed", "put sample files into landing"),
        ("test", "tests that need no container; arguments go to pytest"),
        ("test-guarantees", "try hard to lose, double or change a row; arguments go to the report"),
        ("bench", "measure; arguments go to the benchmark"),
        ("bench-full", "measure how cost grows; arguments go to the benchmark"),
    ):
        add(name, text)
    add("status", "health, ports, last init and verify").add_argument("--json", action="store_true")
    logs = add("logs", "last lines of the services")
    logs.add_argument("--service", default="")
    logs.add_argument("--follow", action="store_true")
    add("nuke", "remove containers, volumes and .data").add_argument(
        "--force", default="", nargs="?", const="1"
    )
    add("lint", "all linters").add_argument("only", nargs="*", help="names of linters; default all")
    add("init-data-layers", "land what is new and run every layer", add_help=False)
    add("verify-data-layers", "read the lake and say whether it is sound", add_help=False)
    return top


def _platform() -> Platform:
    return Platform(Checkout.here(), Terminal())


def _start(options: argparse.Namespace, _: Sequence[str]) -> None:
    Start(Checkout.here(), Terminal()).run(options.profile)


def _doctor(options: argparse.Namespace, _: Sequence[str]) -> int:
    checkout, terminal, engine = Checkout.here(), Terminal(), probe()
    profile, why = choose(options.profile, engine)
    terminal.say(f"profile {profile} ({why})")
    findings = preflight.check(checkout, profile, engine)
    findings += preflight.measured(checkout, profile, engine)
    marks = {"ok": ("✓", 32), "warning": ("!", 33), "error": ("✗", 31)}
    for finding in findings:
        fix = f"   ({finding.fix})" if finding.fix else ""
        terminal.say(f"  {terminal.paint(*marks[finding.level])} {finding.text}{fix}")
    return REFUSED if any(finding.level == "error" for finding in findings) else OK


def _init(_: argparse.Namespace, rest: Sequence[str]) -> int:
    done = _platform().lake().init(*rest)
    if done.text.strip():
        print(done.text.rstrip(), file=sys.stdout if done.ok else sys.stderr)
    return done.code


# What `make api-key` makes without arguments.
DEFAULT_KEY = ("create", "--name", "default", "--scopes", "read,ingest,sql,share")
Verb = Callable[[argparse.Namespace, Sequence[str]], int | None]
VERBS: dict[str, Verb] = {
    "start": _start,
    "doctor": _doctor,
    "stop": lambda *_: _platform().stop(),
    "restart": lambda *_: _platform().restart(),
    "status": lambda options, _: _platform().status(as_json=options.json),
    "logs": lambda options, _: _platform().logs(options.service, follow=options.follow),
    "ps": lambda *_: _platform().ps(),
    "shell": lambda *_: _platform().shell(),
    "credentials": lambda *_: _platform().credentials(),
    "api-key": lambda _, rest: _platform().api_key(*(rest or DEFAULT_KEY)),
    "share-profile": lambda _, rest: _platform().share_profile(*rest),
    "dagster-ui": lambda *_: _platform().open_page("dagster"),
    "minio-console": lambda *_: _platform().open_page("console"),
    "clean": lambda *_: _platform().clean(),
    "nuke": lambda options, _: _platform().nuke(force=options.force == "1"),
    "init-data-layers": _init,
    "verify-data-layers": lambda _, rest: _platform().lake().verify(*rest).code,
    "odp": lambda _, rest: _platform().lake().odp(*rest).code,
    "prune": lambda _, rest: _platform().lake().prune(*rest).code,
    "seed": lambda _, rest: _platform().lake().seed(*rest).code,
    "test": lambda _, rest: quality.test(Checkout.here(), rest),
    "lint": lambda options, _: quality.lint(Checkout.here(), Terminal(), options.only),
    "test-guarantees": lambda _, rest: quality.guarantees(Checkout.here(), rest),
    "bench": lambda _, rest: quality.bench(Checkout.here(), rest),
    "bench-full": lambda _, rest: quality.bench_full(Checkout.here(), rest),
}
