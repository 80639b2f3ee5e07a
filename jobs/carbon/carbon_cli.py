"""The verb `carbon` of the command line: its many flags, and one call."""

from __future__ import annotations

from typing import Annotated

import typer


def carbon(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN…", help="Folders or s3:// prefixes of runs.", show_default=False)
    ],
    intensity: Annotated[float | None, typer.Option("--intensity", help="g CO2e/kWh, for every hour.")] = None,
    zone: Annotated[
        str | None, typer.Option("--zone", help="DE, US-VA, CAMX, aws:eu-central-1, or the provider's own name.")
    ] = None,
    provider: Annotated[str | None, typer.Option("--provider", help="table, electricity-maps or watttime.")] = None,
    factor_type: Annotated[
        str | None, typer.Option("--factor-type", help="Of Electricity Maps: lifecycle or direct.")
    ] = None,
    pue: Annotated[float | None, typer.Option("--pue", help="Power usage effectiveness of the facility.")] = None,
    pue_source: Annotated[str | None, typer.Option("--pue-source", help="Where that number is from.")] = None,
    price_per_kwh: Annotated[float | None, typer.Option("--price-per-kwh", help="Money for a kilowatt-hour.")] = None,
    price_per_gpu_hour: Annotated[
        float | None, typer.Option("--price-per-gpu-hour", help="Money for a GPU and hour.")
    ] = None,
    currency: Annotated[str | None, typer.Option("--currency", help="ISO 4217, e.g. EUR.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no service; take what was fetched before.")] = False,
    write: Annotated[bool, typer.Option("--write", help="Keep it in each run's record and report.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Derive grams of CO2 equivalent and money from the joules that a run has stored; nothing is measured again.

    What is not given comes from the run's own study. Without --write nothing is written.
    """
    from joulegrid.jobs.carbon.carbon_command import CarbonFlags, carbon_command

    changes = {"zone": zone, "intensity_g_per_kwh": intensity, "provider": provider, "factor_type": factor_type}
    changes |= {"pue": pue, "pue_source": pue_source, "currency": currency}
    changes |= {"price_per_kwh": price_per_kwh, "price_per_gpu_hour": price_per_gpu_hour}
    raise typer.Exit(carbon_command(runs, CarbonFlags(changes, offline, write, as_json)))
