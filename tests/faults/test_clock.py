"""A clock that is set while busmon runs."""

import subprocess
from pathlib import Path

from tests.support.buses import Bus
from tests.support.busmon_process import Busmon
from tests.support.streams import assert_exact, in_mid_stream, publish


def test_a_clock_set_forward_and_back_breaks_nothing(buses: list[Bus], tmp_path: Path) -> None:
    """A message received before the step and redelivered after it is a duplicate, too."""
    offset = tmp_path / "offset"
    offset.write_text("+0")
    library = subprocess.check_output(["faketime", "now", "printenv", "LD_PRELOAD"], text=True)
    busmon = Busmon(tmp_path, {bus.stream.bus: bus.settings for bus in buses})
    busmon.put_into_environment(
        LD_PRELOAD=library.strip(),
        FAKETIME_TIMESTAMP_FILE=offset,
        FAKETIME_NO_CACHE=1,
        # No step changes it. But faketime 0.9.10 moves the end of a time.sleep() even so,
        # which fails on a machine that has not been up for as long as the step.
        FAKETIME_DONT_FAKE_MONOTONIC=1,
    )
    streams = [bus.stream for bus in buses]
    with busmon:
        busmon.wait_until_ready()
        for step in ("+1h", "-1d", "+9d", "+0"):
            offset.write_text(step)
            publish(streams, 20)
            assert_exact(busmon, streams)
        connects = [line for line in busmon.ask("/metrics")[1] if "_bus_connects_total{" in line]
        assert [line.split()[-1] for line in connects] == ["1.0"] * len(streams)
        with in_mid_stream(busmon, streams, all):
            offset.write_text("-1h")
            busmon.kill()
            busmon.start()
        assert_exact(busmon, streams)
