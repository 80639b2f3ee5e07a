"""`joulegrid doctor`: can a study run here, with what, and what is to be done where it cannot.

Without `--cluster` it imports neither Ray nor torch and is done in under a second. It changes nothing: the store's
probe removes what it wrote.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from joulegrid.cluster.storage import open_store, probe
from joulegrid.errors import JoulegridError
from joulegrid.jobs.doctor import checks
from joulegrid.jobs.doctor.finding import Finding, error, exit_code, missing, ok, render, warn
from joulegrid.jobs.doctor.sampling import sampling

if TYPE_CHECKING:
    from joulegrid.actors.survey import NodeReport

_CONNECT_TIMEOUT_S = 3.0
_CLOCK_TOLERANCE_S = 1.0
_TOKEN_FILE = "~/.ray/auth_token"  # noqa: S105 - the name of the file


def doctor(*, store: str | None, address: str | None, cluster: bool) -> tuple[list[Finding], int]:
    """Check everything; give the findings and the exit code: 0 a study can run here, 1 something needed is missing."""
    findings = checks.software() + checks.machine() + checks.pins() + checks.power() + sampling()
    findings += ray_findings(address) + store_findings(store)
    if cluster:
        findings += cluster_findings(address)
    return findings, exit_code(findings)


def doctor_command(store: str | None, address: str | None, cluster: bool, as_json: bool) -> int:
    """Print the findings to stdout, as a table or as JSON, and give the exit code."""
    findings, code = doctor(store=store, address=address, cluster=cluster)
    if as_json:
        document = {"exit_code": code, "findings": [finding.model_dump() for finding in findings]}
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        return code
    from rich.console import Console

    console = Console(highlight=False)
    console.print(render(findings))
    console.print("A study can run here." if code == 0 else "Something needed is missing: see `missing` and `error`.")
    return code


def ray_findings(address: str | None) -> list[Finding]:
    """Ray's version, whether the named cluster can be reached, and whether this client has its token."""
    version = checks.version("ray")
    if version is None:
        return [missing("ray", "not installed", "pip install 'ray[default]'")]
    address = address or os.environ.get("RAY_ADDRESS") or None
    if address in (None, "local"):
        return [ok("ray", version), ok("ray cluster", "none named: a study starts its own Ray on this machine")]
    return [ok("ray", version), _reach(address), _token()]


def _reach(address: str) -> Finding:
    host_port = _current_cluster() if address == "auto" else address
    if host_port is None:
        return missing(
            "ray cluster", "auto: no Ray runs on this machine", "ray start --head, or name --address HOST:6379"
        )
    try:
        parts = urlsplit(host_port if "://" in host_port else f"//{host_port}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port:
        return error("ray cluster", f"{address!r} is no address", "give auto, HOST:PORT or ray://HOST:PORT")
    try:
        socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT_S).close()
    except OSError as trouble:
        remedy = f"is Ray running there, and does a firewall let port {port} through?"
        return error("ray cluster", f"{host_port} cannot be reached: {trouble}", remedy)
    return ok("ray cluster", f"{host_port} answers")


def _current_cluster() -> str | None:
    """The address that `ray start` left on this machine."""
    folder = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()) / "ray"
    try:
        return (folder / "ray_current_cluster").read_text().strip() or None
    except OSError:
        return None


def _token() -> Finding:
    """Ray 2.60's `ray start` asks for a token unless it was told not to; its value is never shown."""
    mode = os.environ.get("RAY_AUTH_MODE")
    place = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or _TOKEN_FILE).expanduser()
    found = "RAY_AUTH_TOKEN" if os.environ.get("RAY_AUTH_TOKEN") else str(place) if place.is_file() else None
    remedy = (
        f"copy the head's {_TOKEN_FILE} here, or set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH; set RAY_AUTH_MODE=token"
    )
    if mode == "disabled":
        return ok("ray token", "RAY_AUTH_MODE=disabled")
    if found is None and mode == "token":
        return missing("ray token", f"RAY_AUTH_MODE=token, but neither RAY_AUTH_TOKEN nor {place} is there", remedy)
    if found is None:
        return warn("ray token", "none; a cluster of Ray 2.60 or later asks for one by default", remedy)
    if mode != "token":
        words = f"{found}; Joulegrid uses it, `ray status` and `ray job submit` do not yet"
        return warn("ray token", words, "export RAY_AUTH_MODE=token")
    return ok("ray token", found)


def store_findings(store: str | None) -> list[Finding]:
    """Whether results can be written, whether the first writer wins there, and the space that is left."""
    url = store or "results"
    folder = None if "://" in url else Path(url).expanduser().absolute()
    try:
        # A folder that is not there yet is not made for a look: its nearest parent tells as much.
        check = probe(open_store(_standing(folder) if folder else url))
    except JoulegridError as trouble:
        found = error("store", str(folder or url), str(trouble))
    else:
        words = f"{folder or url}: {check.note}"
        remedy = "use a store that honours If-None-Match, or see that one driver runs at a time"
        found = ok("store", words) if check.conditional else warn("store", words, remedy)
    return [found, *checks.disks(folder)]


def _standing(folder: Path) -> Path:
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def cluster_findings(address: str | None) -> list[Finding]:
    """One finding a node of the cluster, each compared with this machine's and the other nodes' software."""
    from joulegrid.cluster.session import ray_session

    try:
        with ray_session(address):
            # Not earlier: this imports Ray, and the session may set what Ray reads at its import alone.
            from joulegrid.actors.survey import survey_nodes

            return compare_nodes(survey_nodes())
    except JoulegridError as trouble:
        return [error("nodes", "the cluster could not be asked", str(trouble))]


def compare_nodes(reports: list[NodeReport]) -> list[Finding]:
    """Judge nodes side by side: differing versions, drivers or GPU models are errors, because results would mix."""
    answered = [report for report in reports if report.versions is not None]
    with_gpus = [report for report in answered if report.gpus]  # a head without GPUs may stand beside GPU nodes
    return [_node(report, answered[:1], with_gpus[:1]) for report in reports]


def _node(report: NodeReport, first: list[NodeReport], first_gpus: list[NodeReport]) -> Finding:
    name = f"node {report.address}"
    if report.versions is None:
        remedy = "see that Joulegrid is installed there, or start with --working-dir ."
        return error(name, report.error or "no answer", remedy)
    value = _describe(report, report.versions)
    found = [f"{word} (from {other.address})" for other in first for word in _versions_apart(report, other)]
    found += [f"{word} (from {other.address})" for other in first_gpus for word in _gpus_apart(report, other)]
    if found:
        return error(name, value, f"differs in {', '.join(found)}: make the nodes alike, or study them apart")
    if abs(report.clock_offset_s or 0) > _CLOCK_TOLERANCE_S + (report.clock_uncertainty_s or 0):
        return warn(
            name, value, "its clock is not this machine's, and times in logs will not match; run chrony or ntpd"
        )
    return ok(name, value)


def _describe(report: NodeReport, versions: dict[str, str | None]) -> str:
    gpus = Counter(report.gpus)
    words = [report.hostname, f"{report.cpus} threads"]
    words += [f"{count} × {gpu}" for gpu, count in gpus.items()] or ["no GPU"]
    words += [f"driver {report.driver}"] if report.driver else []
    words += [f"{package} {version or '-'}" for package, version in versions.items()]
    if report.clock_offset_s is not None:
        words.append(f"clock {report.clock_offset_s * 1e3:+.0f} ± {(report.clock_uncertainty_s or 0) * 1e3:.0f} ms")
    return ", ".join(words)


def _versions_apart(report: NodeReport, other: NodeReport) -> list[str]:
    mine, theirs = report.versions or {}, other.versions or {}
    return [package for package in mine if mine[package] != theirs.get(package)]


def _gpus_apart(report: NodeReport, other: NodeReport) -> list[str]:
    if not report.gpus:
        return []
    apart = {"driver": report.driver != other.driver, "GPU model": set(report.gpus) != set(other.gpus)}
    return [word for word, differs in apart.items() if differs]
