"""Build the dashboards: `python config/grafana/build.py [FOLDER]`; the default is dashboards/."""

import json
import sys
from pathlib import Path

import bus
import pods
from grafana_foundation_sdk.cog.encoder import JSONEncoder

FOLDER = Path(__file__).parent / "dashboards"


def main() -> None:
    """Write a file for each dashboard, named after its uid in Grafana."""
    folder = Path(*sys.argv[1:2]) if sys.argv[1:] else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for dashboard in (bus.build(), pods.build()):
        text = json.dumps(dashboard, cls=JSONEncoder, indent=2, sort_keys=True)
        (folder / f"{dashboard.uid}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
